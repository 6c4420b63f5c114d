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
  /** More about somebody, behind the name: ", editing the start". Default: nothing. */
  describe?: (presence: Presence) => ReactNode;
}

/** The people in a document: picture or initials in their colour, their name, and whether they type. */
export function PresenceIndicators({
  presences,
  self,
  label = "People here",
  describe,
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
                  {/* The first letters of the first word and of the last. */}
                  {one.user.name.trim().replace(/(\S)\S*(.*\s)?/gu, "$1")}
                </span>
              )}
              <span>
                <b>{one.user.name}</b>
                {one === self && " (you)"}
                <span>{describe?.(one)}</span>
              </span>
              {one.is_typing && <TypingIndicator />}
            </li>
          ),
      )}
    </ul>
  );
}
