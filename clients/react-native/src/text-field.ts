/** A text that several people type into, in React Native's TextInput. */

import { type Json, type SharedDocument, valueAt } from "@collab/client";
import { type Overtyped, retyped, useField } from "@collab/react";
import { useEffect, useLayoutEffect, useRef, useState } from "react";

export interface Selection {
  readonly start: number;
  readonly end: number;
}

export interface NativeTextFieldProps {
  readonly value: string;
  /** Where the caret has to go; undefined while it is where the user put it. */
  readonly selection: Selection | undefined;
  onChangeText(text: string): void;
  onSelectionChange(event: { nativeEvent: { selection: Selection } }): void;
  onBlur(): void;
}

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
  const [value] = useField<string, T>(document, path);
  const text = textOf(value);
  const [selection, setSelection] = useState<Selection | undefined>();
  const seen = useRef<Selection | null>(null); // what the field said last; null while it has no caret
  const given = useRef<Overtyped>({ text, changes: [] }); // what the field shows, which one types over

  useLayoutEffect(() => {
    given.current = { text, changes: [] };
  });

  useEffect(
    () =>
      document?.onChange((change) => {
        given.current.changes.push(change);
        if (!seen.current || change.origin === "local") return;
        const { start, end } = seen.current;
        seen.current = { start: change.carry(path, start) ?? 0, end: change.carry(path, end) ?? 0 };
        if (seen.current.start !== start || seen.current.end !== end) setSelection(seen.current);
      }),
    [document, path],
  );

  return {
    value: text,
    selection,
    onChangeText(typed) {
      const now = textOf(document && valueAt(document.snapshot.view as Json, path));
      const next = retyped(given.current, path, typed, 0, now); // where the caret is isn't told yet
      if (next.text !== now) document?.[whole ? "set" : "setText"](path, next.text);
      given.current = { text: next.text, changes: [] };
      if (next.text === typed || !seen.current) return;
      seen.current = { start: next.end, end: next.end };
      setSelection(seen.current);
    },
    onSelectionChange({ nativeEvent: { selection: now } }) {
      const { start: anchor, end: position } = now;
      seen.current = now;
      setSelection(undefined);
      document?.presence.setCursor({
        field: path.slice(1),
        position,
        ...(anchor !== position && { anchor }),
      });
    },
    onBlur() {
      seen.current = null;
      document?.presence.setCursor(null);
    },
  };
}

const textOf = (value: Json | undefined): string => (typeof value === "string" ? value : "");
