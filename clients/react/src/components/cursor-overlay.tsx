/** Others' carets and selections over a field. */

import type { Presence, SharedDocument } from "@collab/client";
import { type ReactNode, type RefObject, useLayoutEffect, useRef } from "react";
import { useText } from "../documents.js";
import { usePresence } from "../presence.js";

// What decides where a character of the field stands. `font` has the height of its lines.
const STYLES = "font letterSpacing textAlign padding borderWidth boxSizing direction width height".split(
  " ",
) as readonly ("font" | "padding")[];

export interface CursorOverlayProps<T> {
  document: SharedDocument<T> | null;
  /** The field's JSON pointer, as given to `useTextField`. */
  path: string;
  /** The field, as `useTextField` gives it. Both stand in one `.collab-field` element. */
  target: RefObject<HTMLElement | null>;
}

/** A layer over an input or textarea that shows where others are in its text. */
export function CursorOverlay<T>({ document, path, target }: CursorOverlayProps<T>): ReactNode {
  const layer = useRef<HTMLDivElement>(null);
  const text = useText(document, path);
  const here = usePresence(document).others.filter(({ cursor }) => cursor.field === path.slice(1));
  useLayoutEffect(() => {
    const mirror = layer.current;
    const field = mirror && target.current;
    if (!field) return;
    const fit = () => {
      for (const name of STYLES) mirror.style[name] = getComputedStyle(field)[name];
      mirror.scrollTo(field.scrollLeft, field.scrollTop);
    };
    const observer = new ResizeObserver(fit); // which calls it at once, too
    observer.observe(field);
    field.addEventListener("scroll", fit);
    return () => {
      field.removeEventListener("scroll", fit);
      observer.disconnect();
    };
  });
  // A mirror costs each key a layout of the whole text: there is one only where it shows somebody.
  return (
    here[0] && (
      <div ref={layer} className="collab-cursors" aria-hidden translate="no">
        {pieces(text, here)}
      </div>
    )
  );
}

/** The text, cut where somebody's caret or selection begins or ends. */
function pieces(text: string, presences: readonly Presence[]): ReactNode {
  const spans = presences.map((one) => {
    const { position = text.length, anchor = position } = one.cursor;
    return { ...one, position, anchor };
  });
  const cuts = [...new Set([0, ...spans.flatMap(({ position, anchor }) => [position, anchor])])].sort(
    (a, b) => a - b,
  );
  return cuts.map((cut, index) => {
    const selected = spans.find(({ position, anchor }) => position <= cut !== anchor <= cut);
    return [
      spans.map(
        (one) =>
          one.position === cut && (
            <span key={one.session_id} className="collab-caret" style={{ borderColor: one.user.color }}>
              <b style={{ backgroundColor: one.user.color }}>{one.user.name}</b>
            </span>
          ),
      ),
      <span key={cut} style={{ backgroundColor: selected && `${selected.user.color}55` }}>
        {text.slice(cut, cuts[index + 1])}
      </span>,
    ];
  });
}
