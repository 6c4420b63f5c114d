/** A text that several people type into, in an ordinary input or textarea. */

import type { Json, SharedDocument, ViewChange } from "@collab/client";
import { type ChangeEvent, type CompositionEvent, useEffect, useLayoutEffect, useRef, useState } from "react";
import { isEditable, textAt, useEditable, useText } from "./documents.js";

type Field = HTMLInputElement | HTMLTextAreaElement;
type Selection = [start: number, end: number, direction?: "forward" | "backward" | "none" | undefined];

export interface TextFieldProps<E extends Field> {
  /** Told by its form: React 18's and 19's types of refs differ. */
  ref: { current: E | null };
  value: string;
  /** While it can't be edited. */
  readOnly: boolean;
  onChange(event: ChangeEvent<E>): void;
  onSelect(): void;
  onFocus(): void;
  onBlur(): void;
  onCompositionStart(event: CompositionEvent<E>): void;
  onCompositionEnd(event: CompositionEvent<E>): void;
}

/** A text that was typed over: what it was, and the changes of the document since. */
export interface Overtyped {
  readonly text: string;
  readonly changes: Pick<ViewChange, "carry">[];
}

/** Where what was typed belongs by now: in `text`, up to `end`. The rest is the span that `typed` differs in. */
export interface Retyped {
  readonly text: string;
  readonly end: number;
  /** How much the older text and `typed` have in common before the span, and behind it. */
  readonly start: number;
  readonly tail: number;
}

/**
 * `now` with what turned an older text into `typed` put where it belongs by now. It is the span between their common ends, of
 * which the later one follows the caret; no character is cut in halves.
 */
export function retyped(
  { text, changes }: Overtyped,
  path: string,
  typed: string,
  caret: number,
  now: string,
): Retyped {
  const most = Math.min(text.length, typed.length);
  let tail = 0;
  const behind = Math.min(most, typed.length - caret);
  while (tail < behind && text.at(-1 - tail) === typed.at(-1 - tail)) tail++;
  if (text.charCodeAt(text.length - tail) >> 10 === 0xdc00 >> 10) tail--; // a character's second half
  let start = 0;
  while (start < most - tail && text.codePointAt(start) === typed.codePointAt(start)) start++;
  const at = through(changes, path);
  const from = at(start);
  const before = now.slice(0, from) + typed.slice(start, typed.length - tail);
  return {
    text: before + now.slice(Math.max(from, at(text.length - tail))),
    end: before.length,
    start,
    tail,
  };
}

/**
 * Props for an `<input>` or `<textarea>` that shows the text at a JSON pointer: `<input {...useTextField(doc, "/title")} />`,
 * `<textarea {...useTextField<HTMLTextAreaElement>(doc, "/description")} />`.
 *
 * The caret and the selection stay where they were when others type. Others see this user's caret. While an
 * input method composes, the field is left alone; what it gave is then put where it belongs by now.
 *
 * `whole`: the text is one value (a title), of which the later one wins; a concurrent one is a conflict.
 */
export function useTextField<E extends Field = HTMLInputElement, T = unknown>(
  document: SharedDocument<T> | null,
  path: string,
  options?: { whole?: boolean },
): TextFieldProps<E> {
  const ref = useRef<E>(null);
  const text = useText(document, path);
  const readOnly = !useEditable(document);
  const [draft, setDraft] = useState<string | null>(null);
  const composing = useRef<(Overtyped & { field: E }) | null>(null);
  const moved = useRef<Selection | null>(null);
  const shown = draft ?? text;

  useEffect(
    () =>
      document?.onChange((change) => {
        const over = composing.current;
        if (over) over.changes.push(change);
        else if (moved.current || textAt(change.after, path) !== ref.current?.value) {
          const at = through([change], path);
          const selection = moved.current ?? selectionOf(ref.current);
          if (selection) moved.current = [at(selection[0]), at(selection[1]), selection[2]];
        }
      }),
    [document, path],
  );

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new text is what moves the caret
  useLayoutEffect(() => {
    const field = ref.current;
    const selection = moved.current;
    moved.current = null;
    // Not `:focus`, which nothing is in a window that isn't focused.
    if (field && selection && (field.getRootNode() as Document).activeElement === field)
      field.setSelectionRange(...selection);
  }, [shown]);

  const write = (next: string) => {
    if (document && isEditable(document.snapshot)) document[options?.whole ? "set" : "setText"](path, next);
  };
  /** What was composed is written, but for a field that is gone; with a caret, that goes behind it. */
  const settle = (field: E | null, caret = field?.selectionStart) => {
    const over = composing.current;
    composing.current = null;
    setDraft(null);
    if (!over || !field) return;
    const typed = field.value;
    const now = textAt(document?.snapshot.view as Json, path);
    const { text, end } = retyped(over, path, typed, caret ?? 0, now);
    if (text !== now) write(text);
    if (caret !== null && text !== typed) moved.current = [end, end];
  };
  const tellCursor = () => {
    moved.current = null; // the caret is where the user has it
    const selection = selectionOf(ref.current);
    if (ref.current?.matches(":focus"))
      document?.presence.setCursor({ field: path.slice(1), ...(selection && placeOf(selection)) });
  };
  const endCursor = () => document?.presence.setCursor(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what is composed belongs to one text
  useLayoutEffect(() => {
    const leave = () => settle(ref.current, null);
    addEventListener("pagehide", leave);
    tellCursor();
    return () => {
      removeEventListener("pagehide", leave);
      leave();
      if (ref.current?.matches(":focus")) endCursor(); // nothing tells a field that goes that it is left
    };
  }, [document, path]);
  return {
    ref,
    value: shown,
    readOnly,
    onChange({ currentTarget }) {
      const over = composing.current;
      if (!over) write(currentTarget.value);
      else if (over.field === currentTarget) {
        setDraft(currentTarget.value);
        document?.presence.setTyping(true);
      } else settle(currentTarget); // the other went, and nobody composes any more
      tellCursor();
    },
    onSelect: tellCursor,
    onFocus: tellCursor,
    onBlur: endCursor,
    onCompositionStart({ currentTarget: field }) {
      composing.current = { text, changes: [], field };
      setDraft(text);
    },
    onCompositionEnd: ({ currentTarget }) => settle(currentTarget),
  };
}

/** False: an input that has none (of an address, of a number). */
const selectionOf = (field: Field | null): Selection | false | null =>
  field &&
  field.selectionStart !== null && [
    field.selectionStart,
    field.selectionEnd as number,
    field.selectionDirection as "none",
  ];

function placeOf([start, end, direction]: Selection): { position: number; anchor?: number } {
  if (start === end) return { position: end };
  return direction === "backward" ? { position: start, anchor: end } : { position: end, anchor: start };
}

/** Where an offset in the text at `path` went. */
export const through = (changes: Overtyped["changes"], path: string) => (offset: number) =>
  changes.reduce((at, change) => change.carry(path, at) ?? 0, offset);
