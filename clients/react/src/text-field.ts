/** A text that several people type into, in an ordinary input or textarea. */

import type { SharedDocument, ViewChange } from "@collab/client";
import { type ChangeEvent, type RefObject, useEffect, useLayoutEffect, useRef, useState } from "react";
import { useField, valueAt } from "./documents.js";

type Field = HTMLInputElement | HTMLTextAreaElement;
type Selection = [start: number, end: number, direction: "forward" | "backward" | "none"];

export interface TextFieldProps<E extends Field> {
  ref: RefObject<E | null>;
  value: string;
  onChange(event: ChangeEvent<E>): void;
  onSelect(): void;
  onFocus(): void;
  onBlur(): void;
  onCompositionStart(): void;
  onCompositionEnd(): void;
}

/** What turned `before` into `after`: the span between their common ends, of which the later one follows the caret. */
function splice(before: string, after: string, caret: number) {
  const most = Math.min(before.length, after.length);
  let tail = 0;
  const behind = Math.min(most, after.length - caret);
  while (tail < behind && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  let start = 0;
  while (start < most - tail && before[start] === after[start]) start++;
  return { start, end: before.length - tail, inserted: after.slice(start, after.length - tail) };
}

/**
 * Props for an `<input>` or `<textarea>` that shows the text at a JSON pointer: `<input {...useTextField(doc, "/title")} />`.
 *
 * The caret and the selection stay where they were when others type. Others see this user's caret. While an
 * input method composes, the field is left alone; what it gave is then put where it belongs by now.
 *
 * `whole`: the text is one value (a title), of which the later one wins; a concurrent one is a conflict.
 */
export function useTextField<E extends Field = HTMLInputElement, T = unknown>(
  document: SharedDocument<T> | null,
  path: string,
  { whole = false }: { whole?: boolean } = {},
): TextFieldProps<E> {
  const ref = useRef<E>(null);
  const [value] = useField<string, T>(document, path);
  const [draft, setDraft] = useState<string | null>(null);
  const composing = useRef<{ before: string; changes: ViewChange[] } | null>(null);
  const moved = useRef<Selection | null>(null);
  const text = typeof value === "string" ? value : "";
  const shown = draft ?? text;

  useEffect(
    () =>
      document?.onChange((change) => {
        const field = ref.current;
        if (!field) return;
        if (composing.current) composing.current.changes.push(change);
        else if (change.origin === "remote" && valueAt(change.before, path) !== valueAt(change.after, path)) {
          const selection = moved.current ?? selectionOf(field);
          moved.current = selection && carried(change, path, selection);
        }
      }),
    [document, path],
  );

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new text is what moves the caret
  useLayoutEffect(() => {
    const [field, selection] = [ref.current, moved.current];
    moved.current = null;
    if (selection && field?.matches(":focus")) field.setSelectionRange(...selection);
  }, [shown]);

  const write = (next: string) => {
    if (next !== text) document?.[whole ? "set" : "setText"](path, next);
  };
  const tellCursor = () => {
    const field = ref.current;
    if (!field?.matches(":focus")) return;
    const selection = selectionOf(field);
    document?.presence.setCursor({ field: path.slice(1), ...(selection && placeOf(selection)) });
  };

  return {
    ref,
    value: shown,
    onChange({ currentTarget }) {
      if (composing.current) setDraft(currentTarget.value);
      else write(currentTarget.value);
      tellCursor();
    },
    onSelect: tellCursor,
    onFocus: tellCursor,
    onBlur: () => document?.presence.setCursor(null),
    onCompositionStart() {
      composing.current = { before: text, changes: [] };
      setDraft(text);
    },
    onCompositionEnd() {
      const { before, changes } = composing.current ?? { before: text, changes: [] };
      const { value: after = before, selectionStart: caret = null } = ref.current ?? {};
      const { start, end, inserted } = splice(before, after, caret ?? 0);
      const from = through(changes, path, start);
      const to = Math.max(from, through(changes, path, end));
      const next = text.slice(0, from) + inserted + text.slice(to);
      composing.current = null;
      setDraft(null);
      write(next);
      if (next === after || caret === null) return;
      const at = from + caret - start;
      moved.current = [at, at, "none"];
    },
  };
}

/** Null: an input that has none (of an address, of a number). */
function selectionOf({ selectionStart, selectionEnd, selectionDirection }: Field): Selection | null {
  if (selectionStart === null) return null;
  return [selectionStart, selectionEnd as number, selectionDirection ?? "none"];
}

function placeOf([start, end, direction]: Selection): { position: number; anchor?: number } {
  if (start === end) return { position: end };
  return direction === "backward" ? { position: start, anchor: end } : { position: end, anchor: start };
}

function carried(change: ViewChange, path: string, [start, end, direction]: Selection): Selection {
  return [change.carry(path, start) ?? 0, change.carry(path, end) ?? 0, direction];
}

function through(changes: readonly ViewChange[], path: string, offset: number): number {
  return changes.reduce((at, change) => change.carry(path, at) ?? 0, offset);
}
