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

/** What turned `before` into `after`: the span between their common ends. */
function splice(before: string, after: string): { start: number; end: number; inserted: string } {
  const most = Math.min(before.length, after.length);
  let start = 0;
  while (start < most && before[start] === after[start]) start++;
  let tail = 0;
  while (tail < most - start && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
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

  useEffect(
    () =>
      document?.onChange((change) => {
        const field = ref.current;
        if (!field) return;
        if (composing.current) composing.current.changes.push(change);
        else if (change.origin === "remote" && valueAt(change.before, path) !== valueAt(change.after, path))
          moved.current = carried(change, path, moved.current ?? selectionOf(field));
      }),
    [document, path],
  );

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new text is what moves the caret
  useLayoutEffect(() => {
    const [field, selection] = [ref.current, moved.current];
    moved.current = null;
    if (field && selection && field.ownerDocument.activeElement === field)
      field.setSelectionRange(...selection);
  }, [text]);

  const write = (next: string) => (whole ? document?.set(path, next) : document?.setText(path, next));
  const tellCursor = () => {
    const field = ref.current;
    if (!field || field.ownerDocument.activeElement !== field) return;
    const [start, end, direction] = selectionOf(field);
    const [position, anchor] = direction === "backward" ? [start, end] : [end, start];
    document?.presence.setCursor({ field: path.slice(1), position, ...(anchor !== position && { anchor }) });
  };

  return {
    ref,
    value: draft ?? text,
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
      const { start, end, inserted } = splice(before, ref.current?.value ?? before);
      const from = through(changes, path, start);
      const to = Math.max(from, through(changes, path, end));
      composing.current = null;
      setDraft(null);
      write(text.slice(0, from) + inserted + text.slice(to));
      const caret = from + inserted.length;
      moved.current = [caret, caret, "none"];
    },
  };
}

function selectionOf(field: Field): Selection {
  const end = field.value.length;
  return [field.selectionStart ?? end, field.selectionEnd ?? end, field.selectionDirection ?? "none"];
}

function carried(change: ViewChange, path: string, [start, end, direction]: Selection): Selection {
  return [change.carry(path, start) ?? 0, change.carry(path, end) ?? 0, direction];
}

function through(changes: readonly ViewChange[], path: string, offset: number): number {
  return changes.reduce((at, change) => change.carry(path, at) ?? 0, offset);
}
