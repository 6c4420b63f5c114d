/** Who is here, as avatars. */

import type { Presence } from "@collab/client";
import type { ReactNode } from "react";

/** Three dots for somebody who types. */
export function TypingIndicator(): ReactNode {
  return (
    <span className="collab-typing" role="img" aria-label="typing">
      <i />
      <i />
      <i />
    </span>
  );
}

export interface PresenceIndicatorsProps {
  presences: readonly Presence[];
  /** The user's own entry, listed last. */
  self?: Presence | null;
  /** The list's accessible name. */
  label?: string;
}

/** The people in a document: picture or initials in their colour, their name, and whether they type. */
export function PresenceIndicators({
  presences,
  self,
  label = "People here",
}: PresenceIndicatorsProps): ReactNode {
  return (
    <ul className="collab-people" aria-label={label}>
      {[...presences, self].map(
        (one) =>
          one && (
            <li key={one.session_id} className="collab-person" style={{ borderColor: one.user.color }}>
              {one.user.avatar_url ? (
                <img src={one.user.avatar_url} alt="" />
              ) : (
                <span className="collab-initials" aria-hidden style={{ backgroundColor: one.user.color }}>
                  {initials(one.user.name)}
                </span>
              )}
              <span className="collab-name">
                {one.user.name}
                {one === self && " (you)"}
              </span>
              {one.is_typing && <TypingIndicator />}
            </li>
          ),
      )}
    </ul>
  );
}

function initials(name: string): string {
  const [first = "", ...others] = name
    .trim()
    .split(/\s+/)
    .map(([letter]) => letter);
  return first + (others.at(-1) ?? "");
}
