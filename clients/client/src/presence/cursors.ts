/** Cursors between texts: the sender's, the confirmed one, the view, and the one counted in UTF-16. */

import type { Cursor, Json } from "../api.js";
import { deltaOf, type Step } from "../documents/change.js";
import { valueAt } from "../documents/conflicts.js";
import { carriedOffset, type Operations, toCodePoints, toUnits } from "../kernel/index.js";

export const NOWHERE: Cursor = Object.freeze({ field: "" });

/** As it is told: in the text at a version. */
export type ToldCursor = Cursor & { version?: number };

/** A field is a member's name (`title`), or a JSON pointer. Anybody may send what is neither: that has no text. */
function textAt(document: Json, field: string): Json | undefined {
  try {
    return valueAt(document, pathOf(field));
  } catch {
    return undefined;
  }
}

const pathOf = (field: string): string => (field.startsWith("/") ? field : `/${field}`);

/** The cursor with its offsets changed. */
function mapped({ field, position, anchor }: Cursor, change: (offset: number) => number): Cursor {
  return {
    field,
    ...(position !== undefined && { position: change(position) }),
    ...(anchor !== undefined && { anchor: change(anchor) }),
  };
}

/** Offsets in the field's text, counted otherwise; without a text they stay. */
function recounted(cursor: Cursor, view: Json, count: (text: string, offset: number) => number): Cursor {
  const text = textAt(view, cursor.field);
  return mapped(cursor, (offset) => (typeof text === "string" ? count(text, offset) : offset));
}

/** Offsets in UTF-16 units, as code points. */
export const fromUnits = (cursor: Cursor, view: Json): Cursor => recounted(cursor, view, toCodePoints);

/** Offsets in code points, as UTF-16 units. */
export const toUnitsOf = (cursor: Cursor, view: Json): Cursor => recounted(cursor, view, toUnits);

/**
 * A cursor in one document's text, in another's, to which `operations` lead where they are known; the same object
 * where it stays. `stays`: before what is inserted right at it.
 */
export function between(
  cursor: Cursor,
  from: Json,
  to: Json,
  stays: boolean,
  operations: Operations = [],
): Cursor {
  const { field, position } = cursor;
  const [before, after] = [textAt(from, field), textAt(to, field)];
  if (before === after || position === undefined) return cursor;
  if (typeof before !== "string" || typeof after !== "string") return { field };
  const delta = deltaOf(operations, pathOf(field), from, to);
  return mapped(cursor, (offset) => carriedOffset(delta, offset, stays));
}

/** A cursor of the client `owner` past a change; its own leaves it behind what that inserts at it. */
export const carried = (cursor: Cursor, { before, after, author, operations }: Step, owner: string): Cursor =>
  between(cursor, before, after, author !== owner, operations);
