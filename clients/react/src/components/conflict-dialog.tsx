/** What to do about an edit that met somebody else's. */

import type { Conflict, Json, SharedDocument } from "@collab/client";
import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { useConflicts } from "../documents.js";

export interface ConflictDialogProps<T> {
  document: SharedDocument<T> | null;
  /** A person's name for a user id. Default: the id. */
  nameOf?: (userId: string) => string;
  /** A member's name for people. Default: its JSON pointer without the slash. */
  labelOf?: (path: string) => string;
  /** What the merge editor begins with. Default: mine. */
  suggest?: (conflict: Conflict) => Json | undefined;
}

/** Shows the oldest unresolved conflict: mine, theirs and what was there before; each can be kept, or merged. */
export function ConflictDialog<T>(props: ConflictDialogProps<T>): ReactNode {
  const { conflicts, resolve } = useConflicts(props.document);
  const conflict = conflicts[0];
  return conflict ? <Question key={conflict.id} {...props} {...{ conflict, resolve }} /> : null;
}

const same = (value: string) => value;

function Question<T>({
  conflict,
  resolve,
  nameOf = same,
  labelOf = (path) => path.slice(1),
  suggest = ({ mine }) => mine,
}: ConflictDialogProps<T> & {
  conflict: Conflict;
  resolve: ReturnType<typeof useConflicts>["resolve"];
}): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const { path, userId, base, mine, theirs, timestamp } = conflict;
  const [merged, setMerged] = useState(() => shown(suggest(conflict)));
  useEffect(() => {
    const opened = dialog.current as HTMLDialogElement;
    const focused = document.activeElement as HTMLElement | null;
    opened.showModal?.();
    return () => {
      focused?.focus(); // with its caret, which `close` leaves out
      opened.close?.();
    };
  }, []);
  const when = timestamp === null ? "" : ` at ${new Date(timestamp).toLocaleTimeString()}`;
  return (
    <dialog
      ref={dialog}
      className="collab-dialog"
      aria-label="Conflict"
      aria-describedby={id}
      onCancel={(e) => e.preventDefault()}
      onClose={({ currentTarget: closed }) => closed.open || closed.showModal()} // the second Escape can't be prevented
    >
      <p id={id}>
        {userId === null ? "Somebody" : nameOf(userId)} changed <b>{labelOf(path)}</b> too{when}.
      </p>
      <dl>
        {Object.entries({ Mine: mine, Theirs: theirs, Before: base }).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value === undefined ? <i>nothing</i> : shown(value)}</dd>
          </div>
        ))}
      </dl>
      <label>
        Merged
        <textarea value={merged} onChange={(event) => setMerged(event.target.value)} />
      </label>
      <div className="collab-buttons">
        <button type="button" onClick={() => resolve(conflict.id, "mine")}>
          Keep mine
        </button>
        <button type="button" onClick={() => resolve(conflict.id, "theirs")}>
          Keep theirs
        </button>
        <button type="button" onClick={() => resolve(conflict.id, { value: read(merged, mine ?? theirs) })}>
          Merge
        </button>
      </div>
    </dialog>
  );
}

function shown(value: Json | undefined): string {
  return typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value, null, 2);
}

/** What was typed, as a value of the kind of `like`; text that isn't JSON stays text. */
function read(text: string, like: Json | undefined): Json {
  try {
    return typeof like === "string" ? text : (JSON.parse(text) as Json);
  } catch {
    return text;
  }
}
