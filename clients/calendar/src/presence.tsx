/** Who is at a field that has no caret: a time, an answer. */

import type { Presence } from "@collab/client";
import { usePresence } from "@collab/react";
import type { FocusEvent, ReactNode } from "react";
import type { EventDocument, SharedEvent } from "./event.js";

export interface FieldPresence {
  /** The others who are at it. */
  readonly here: readonly Presence[];
  /** For the field, or what holds its parts: tells the others that the user is at it. */
  readonly handlers: {
    onFocus(): void;
    onBlur(event: FocusEvent): void;
  };
}

/** A member of the document as a field. */
export function useFieldPresence(document: SharedEvent | null, field: keyof EventDocument): FieldPresence {
  const { others } = usePresence(document);
  return {
    here: others.filter(({ cursor }) => cursor.field === field),
    handlers: {
      onFocus: () => document?.presence.setCursor({ field }),
      onBlur({ currentTarget, relatedTarget }) {
        if (!currentTarget.contains(relatedTarget)) document?.presence.setCursor(null);
      },
    },
  };
}

/** Their names, for the eye: the list of people tells it to everybody. */
export function Here({ people }: { people: readonly Presence[] }): ReactNode {
  return (
    <span className="here" aria-hidden>
      {people.map(({ session_id, user }) => (
        <b key={session_id} style={{ backgroundColor: user.color }}>
          {user.name}
        </b>
      ))}
    </span>
  );
}
