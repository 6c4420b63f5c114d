/** A text that several people type into, in an ordinary input or textarea. */

import { type SharedDocument, type ViewChange, valueAt } from "@collab/client";
import {
  type ChangeEvent,
  type CompositionEvent,
  type RefObject,
  useEffect,
  useLayoutEffect,
  useRef,
  useState,
} from "react";
import { useField } from "./documents.js";

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
  onCompositionEnd(event: CompositionEvent<E>): void;
}

/** A text that was typed over: what it was, and the changes of the document since. */
export interface Overtyped {
  readonly text: string;
  readonly changes: ViewChange[];
}

/**
 * `now` with what turned an older text into `typed` put where it belongs by now, and where that ends. It is the span
 * between their common ends, of which the later one follows the caret.
 */
export function retyped(
  { text, changes }: Overtyped,
  path: string,
  typed: string,
  caret: number,
  now: string,
): { text: string; end: number } {
  const most = Math.min(text.length, typed.length);
  let tail = 0;
  const behind = Math.min(most, typed.length - caret);
  while (tail < behind && text.at(-1 - tail) === typed.at(-1 - tail)) tail++;
  let start = 0;
  while (start < most - tail && text[start] === typed[start]) start++;
  const at = through(changes, path);
  const from = at(start);
  const before = now.slice(0, from) + typed.slice(start, typed.length - tail);
  return { text: before + now.slice(Math.max(from, at(text.length - tail))), end: before.length };
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
  const composing = useRef<Overtyped | null>(null);
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
          moved.current = selection && carried(selection, through([change], path));
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
      composing.current = { text, changes: [] };
      setDraft(text);
    },
    onCompositionEnd({ currentTarget: { value: typed, selectionStart: caret } }) {
      const over = composing.current ?? { text, changes: [] };
      const next = retyped(over, path, typed, caret ?? 0, text);
      composing.current = null;
      setDraft(null);
      write(next.text);
      if (next.text !== typed && caret !== null) moved.current = [next.end, next.end, "none"];
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

const carried = ([start, end, direction]: Selection, at: (offset: number) => number): Selection => [
  at(start),
  at(end),
  direction,
];

/** Where an offset in the text at `path` went. */
const through = (changes: readonly ViewChange[], path: string) => (offset: number) =>
  changes.reduce((at, change) => change.carry(path, at) ?? 0, offset);
