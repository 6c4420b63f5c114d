/** What a change of the view does to texts, and so to offsets in them. */

import type { Json, ViewChange } from "../api.js";
import {
  carriedOffset,
  type Delta,
  formatPointer,
  type Operations,
  textDifference,
  toCodePoints,
  toUnits,
} from "../kernel/index.js";
import { valueAt } from "./conflicts.js";

/** A change of a document, or of what is seen of it. */
export interface Step {
  before: Json;
  /** They lead from it to `after`; empty where they aren't known. */
  operations: Operations;
  after: Json;
  /** The client id of who made it; null: several, or nobody knows. */
  author: string | null;
}

/** Of the texts at pointers, by the documents before and after. Both are immutable, and many cursors go from one to the other. */
const deltas = new WeakMap<object, WeakMap<object, Map<string, Delta>>>();

function known<V>(
  from: { get(key: object): V | undefined; set(key: object, value: V): unknown },
  key: object,
  made: V,
): V {
  const value = from.get(key) ?? made;
  from.set(key, value);
  return value;
}

/** What a change did to the text at a pointer: as it was edited, or where that isn't told by one edit, by comparing, once. */
export function deltaOf(operations: Operations, path: string, before: Json, after: Json): Delta {
  const made = new Map<string, Delta>();
  // A document that is a text itself is no key.
  const found =
    typeof before === "string"
      ? made
      : known(known(deltas, before as object, new WeakMap()), after as object, made);
  const [only] = operations;
  const isTold = operations.length === 1 && only?.[0] === "txt" && formatPointer(only[1]) === path;
  const delta =
    found.get(path) ??
    (isTold ? only[2] : textDifference(valueAt(before, path) as string, valueAt(after, path) as string));
  found.set(path, delta);
  return delta;
}

export function viewChange({ before, operations, after }: Step, origin: ViewChange["origin"]): ViewChange {
  return {
    before,
    after,
    origin,
    carry(path, units, stays = origin === "remote") {
      const [text, next] = [valueAt(before, path), valueAt(after, path)];
      if (typeof text !== "string" || typeof next !== "string") return null;
      const delta = deltaOf(operations, path, before, after);
      return toUnits(next, carriedOffset(delta, toCodePoints(text, units), stays));
    },
  };
}
