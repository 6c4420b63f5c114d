/** What to do about an edit that met somebody else's. */

import type { Conflict, Json, Resolution } from "@collab/client";
import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { type Disputed, useConflicts } from "../documents.js";

export interface ConflictDialogProps<T> {
  document: Disputed<T> | null;
  /** A person's name for a user id. Default: the id. */
  nameOf?: (userId: string) => string;
  /** A time for people. Default: as the locale has it. */
  timeOf?: (time: Date) => string;
  /** A member's name for people. Default: its JSON pointer without the slash. */
  labelOf?: (path: string) => string;
  /** A member's value for people. Default: texts as they are, else JSON. */
  shown?: (path: string, value: Json) => string;
  /** What the merge editor begins with; undefined: there is nothing to merge, it is one or the other. Default: mine. */
  suggest?: (conflict: Conflict) => Json | undefined;
}

/** Shows the oldest unresolved conflict: mine, theirs and what was there before; each can be kept, or merged. */
export function ConflictDialog<T>(props: ConflictDialogProps<T>): ReactNode {
  const [conflict] = useConflicts(props.document).conflicts;
  return conflict && <Question key={conflict.id} {...props} conflict={conflict} />;
}

/** From its beginning, with the focus on no button, which a space that was meant for a text would press. */
function show(dialog: HTMLDialogElement): void {
  dialog.showModal();
  dialog.focus();
  dialog.scrollTop = 0;
}

function Question<T>({
  document,
  conflict,
  nameOf = (userId) => userId,
  timeOf = (time) => time.toLocaleString(),
  labelOf = (path) => path.slice(1),
  shown = (_, value) => textOf(value) as string,
  suggest = (one) => one.mine ?? one.theirs,
}: ConflictDialogProps<T> & { conflict: Conflict }): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const { path, userId, theirs, timestamp } = conflict;
  const [written, setWritten] = useState<string>();
  const merged = written ?? textOf(suggest(conflict)); // which others may go on writing
  useEffect(() => {
    const opened = dialog.current as HTMLDialogElement;
    const focused = opened.ownerDocument.activeElement as HTMLElement | null;
    show(opened);
    return () => {
      focused?.focus(); // with its caret, which `close` leaves out
      opened.close();
    };
  }, []);
  const side = (name: string, member: "mine" | "theirs" | "base") => {
    const value = conflict[member];
    return (
      <div>
        <dt>{name}</dt>
        <dd>
          {value !== undefined ? (
            shown(path, value)
          ) : (
            <i>{conflict.omitted.includes(member as "base") ? "too long to show here" : "nothing"}</i>
          )}
        </dd>
      </div>
    );
  };
  const button = (text: string, resolution: Resolution) => (
    <button type="button" onClick={() => document?.resolve(conflict.id, resolution)}>
      {text}
    </button>
  );
  return (
    <dialog
      ref={dialog}
      className="collab-dialog"
      aria-label="Conflict"
      aria-describedby={id}
      tabIndex={-1}
      onCancel={(e) => e.preventDefault()}
      onClose={({ currentTarget: closed }) => closed.open || show(closed)} // the second Escape can't be prevented
    >
      {conflict.problem && <p role="alert">{conflict.problem}</p>}
      <p key={`${theirs}${timestamp}`} id={id}>
        <b>{userId ? nameOf(userId) : "Somebody"}</b> {theirs === null ? "deleted " : "changed "}
        <b>{labelOf(path)}</b>
        {theirs !== null && " too"}
        {timestamp && ` at ${timeOf(new Date(timestamp))}`}.
      </p>
      <dl>
        {side("Mine", "mine")}
        {side("Theirs", "theirs")}
        {side("Before", "base")}
      </dl>
      {merged != null && (
        <label>
          Merged
          <textarea value={merged} onChange={({ currentTarget }) => setWritten(currentTarget.value)} />
        </label>
      )}
      <div className="collab-buttons">
        {button("Keep mine", "mine")}
        {button("Keep theirs", "theirs")}
        {merged != null && button("Merge", { value: read(merged, conflict.mine ?? theirs) })}
      </div>
    </dialog>
  );
}

/** Undefined where there is no value. */
function textOf(value: Json | undefined): string | undefined {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** What was typed, as a value of the kind of `like`; text that isn't JSON stays text. */
function read(text: string, like: Json | undefined): Json {
  try {
    return typeof like === "string" ? text : (JSON.parse(text) as Json);
  } catch {
    return text;
  }
}
