/** A text that several people type into, in React Native's TextInput. */

import { type Json, type SharedDocument, type ViewChange, valueAt } from "@collab/client";
import { type Overtyped, type Retyped, retyped, textAt, through, useEditable, useText } from "@collab/react";
import { useEffect, useLayoutEffect, useRef, useState } from "react";

export interface Selection {
  readonly start: number;
  readonly end: number;
}

export interface NativeTextFieldProps {
  readonly value: string;
  /** False while it can't be edited. */
  readonly editable: boolean;
  /** Where the caret has to go; undefined while it is where the user put it. */
  readonly selection: Selection | undefined;
  onChangeText(text: string): void;
  onSelectionChange(event: { nativeEvent: { selection: Selection } }): void;
  onBlur(): void;
}

// So long after a text was rendered, one may still type over the one before it.
const SHOWN_AFTER_MS = 500;

/**
 * Props for a `<TextInput>` that shows the text at a JSON pointer: `<TextInput {...useTextField(doc, "/title")} />`.
 *
 * The caret and the selection stay where they were when others type, and others see this user's caret.
 * `whole`: the text is one value (a title), of which the later one wins; a concurrent one is a conflict.
 */
export function useTextField<T = unknown>(
  document: SharedDocument<T> | null,
  path: string,
  { whole = false }: { whole?: boolean } = {},
): NativeTextFieldProps {
  const text = useText(document, path);
  const editable = useEditable(document);
  const [selection, setSelection] = useState<Selection | undefined>();
  const seen = useRef<Selection | null>(null); // what the field said last; null while it has no caret
  const given = useRef<readonly Overtyped[]>([]); // what the field may show, the newest last: one types over one of these

  const give = (texts: readonly Overtyped[], text: string) => {
    const newest = { text, changes: [] };
    given.current = [...texts, newest];
    setTimeout(() => {
      given.current = given.current.slice(Math.max(given.current.indexOf(newest), 0));
    }, SHOWN_AFTER_MS);
  };

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new text is what is given
  useLayoutEffect(() => give(given.current, text), [text]);

  useEffect(
    () =>
      document?.onChange((change) => {
        if (valueAt(change.before, path) === valueAt(change.after, path)) return;
        for (const { changes } of given.current) changes.push(change);
        if (!seen.current || change.origin === "local") return;
        const { start, end } = seen.current;
        const at = through([change], path);
        seen.current = { start: at(start), end: at(end) };
        if (seen.current.start !== start || seen.current.end !== end) setSelection(seen.current);
      }),
    [document, path],
  );

  const tellCursor = ({ start: anchor, end: position }: Selection) =>
    document?.presence.setCursor({
      field: path.slice(1),
      position,
      ...(anchor !== position && { anchor }),
    });

  // Nothing tells a field that goes, or gets another text, that it is left.
  const leave = () => {
    if (!seen.current) return;
    seen.current = null;
    setSelection(undefined);
    document?.presence.setCursor(null);
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: each document is left by the render that had it
  useEffect(() => leave, [document]);
  const last = useRef({ path, text });
  useEffect(() => {
    const before = last.current;
    last.current = { path, text };
    if (before.path === path) return;
    if (before.text !== text) leave();
    else if (seen.current) tellCursor(seen.current); // an item before it came or went
  });

  return {
    value: text,
    editable,
    selection,
    onChangeText(typed) {
      if (!document || !editable) return;
      const now = textAt(document.snapshot.view as Json, path);
      const { over, next } = nearest(given.current, path, typed, now);
      const shown = { text: typed, changes: [{ carry: carryTyped(over, path, typed, now, next) }] };
      if (next.text !== now) document[whole ? "set" : "setText"](path, next.text);
      give([shown], next.text);
      if (next.text === typed || !seen.current) return;
      seen.current = { start: next.end, end: next.end };
      setSelection(seen.current);
    },
    onSelectionChange({ nativeEvent: { selection: now } }) {
      seen.current = now;
      setSelection(undefined);
      tellCursor(now);
    },
    onBlur() {
      seen.current = null;
      document?.presence.setCursor(null);
    },
  };
}

/** What was typed over, and what comes of it: the text that `typed` differs from least, and of two such the later one. */
function nearest(
  given: readonly Overtyped[],
  path: string,
  typed: string,
  now: string,
): { over: Overtyped; next: Retyped } {
  const all = given.map((over) => ({ over, next: retyped(over, path, typed, 0, now) })); // where the caret is isn't told yet
  // What is the same was not typed over.
  const lengths = all.map(
    ({ over, next }) => over.text.length + typed.length - 2 * (next.start + next.tail) || Infinity,
  );
  return all[lengths.lastIndexOf(Math.min(...lengths))] as (typeof all)[number];
}

/** Where an offset in `typed` is in what came of it: the field shows `typed` until it is given that. */
function carryTyped(
  { text, changes }: Overtyped,
  path: string,
  typed: string,
  now: string,
  next: Retyped,
): ViewChange["carry"] {
  const at = through([...changes], path);
  const end = typed.length - next.tail;
  return (_, offset) => {
    if (offset < next.start) return at(offset);
    if (offset <= end) return next.end - end + offset;
    return at(offset - typed.length + text.length) + next.text.length - now.length;
  };
}
