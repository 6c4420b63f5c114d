/** A text that several people type into, in React Native's TextInput. */

import type { SharedDocument } from "@collab/client";
import { useField } from "@collab/react";
import { useEffect, useRef, useState } from "react";

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
  const [selection, setSelection] = useState<Selection | undefined>();
  const seen = useRef<Selection | null>(null); // what the field said last; null while it has no caret

  useEffect(
    () =>
      document?.onChange((change) => {
        if (!seen.current || change.origin === "local") return;
        const { start, end } = seen.current;
        seen.current = { start: change.carry(path, start) ?? 0, end: change.carry(path, end) ?? 0 };
        if (seen.current.start !== start || seen.current.end !== end) setSelection(seen.current);
      }),
    [document, path],
  );

  return {
    value: typeof value === "string" ? value : "",
    selection,
    onChangeText: (text) => (whole ? document?.set(path, text) : document?.setText(path, text)),
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
