/** A text gets LF for CR LF as soon as somebody is at it, and while one is. */

import type { Json } from "@collab/client";
import { textAt } from "@collab/react";
import { type RefObject, useEffect } from "react";
import { withoutReturns } from "./characters.js";
import type { SharedEvent } from "./event.js";

/** A field counts CR LF as one character: carets would stand elsewhere in the text than in the field. */
export function useLineFeeds(
  document: SharedEvent | null,
  path: string,
  ref: RefObject<HTMLTextAreaElement | null>,
): void {
  useEffect(() => {
    const field = ref.current;
    if (!document || !field) return;
    let tried: string | null = null; // what was refused comes back as it was
    const tidy = () => {
      const { view, canEdit, pending } = document.snapshot;
      if (!canEdit || field.ownerDocument.activeElement !== field) return;
      const text = textAt(view as unknown as Json, path);
      const value = withoutReturns(text);
      if (!value.length && !pending) tried = null;
      if (!value.length || text === tried) return;
      tried = text;
      document.edit({ op: "text", path, value, unit: "utf16" }, false);
    };
    const begin = () => {
      tried = null;
      tidy();
    };
    field.addEventListener("focus", begin);
    const end = document.subscribe(tidy);
    return () => {
      field.removeEventListener("focus", begin);
      end();
    };
  }, [document, path, ref]);
}
