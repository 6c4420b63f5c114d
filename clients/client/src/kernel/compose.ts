/** Fewer operations for the same effect: what somebody typed letter by letter is one edit of a text. */

import type { Operation, Operations } from "./documents.js";
import { samePath } from "./paths.js";
import { composeDelta } from "./text.js";
import { equal, type Json } from "./values.js";

/** Are two lists, which are JSON, the same? */
export const isSame = (one: Operations, other: Operations): boolean =>
  equal(one as unknown as Json, other as unknown as Json);

// A text edited in many places isn't gathered further: that would cost each letter a walk over all of them.
const COMPONENTS_MAX = 48;
// Nor is what is long: together it could be too long to be sent.
const CHARACTERS_MAX = 10_000;

/** `operations`, neighbours that edit one text, one counter or one value made one. */
export function composed(operations: Operations): Operation[] {
  const result: Operation[] = [];
  for (const operation of operations) {
    const last = result.at(-1);
    const joint = last && joined(last, operation);
    if (joint) result.pop();
    result.push(...(joint ?? [operation]));
  }
  return result;
}

/** Two operations, the second standing on what the first leaves, as one or none; undefined where they stay two. */
function joined(first: Operation, second: Operation): Operation[] | undefined {
  if (!first[1] || !second[1] || !samePath(first[1], second[1])) return undefined;
  const path = first[1];
  if (first[0] === "txt" && second[0] === "txt") {
    const parts = [...first[2], ...second[2]];
    if (parts.length > COMPONENTS_MAX || parts.join("").length > CHARACTERS_MAX) return undefined;
    const delta = composeDelta(first[2], second[2]);
    return delta.length ? [["txt", path, delta]] : [];
  }
  if (first[0] === "inc" && second[0] === "inc") {
    const amount = first[2] + second[2];
    if (Number.isSafeInteger(amount)) return amount ? [["inc", path, amount]] : [];
  }
  return first[0] === "set" && second[0] === "set" ? [second] : undefined;
}
