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

/** The delta of the text at a pointer: as it was edited, or where that isn't told by one edit, by comparing. */
export function deltaOf(operations: Operations, path: string, before: string, after: string): Delta {
  const [only] = operations;
  if (operations.length === 1 && only?.[0] === "txt" && formatPointer(only[1]) === path) return only[2];
  return textDifference(before, after);
}

export function viewChange(
  before: Json,
  operations: Operations,
  after: Json,
  origin: "local" | "remote",
): ViewChange {
  return {
    before,
    after,
    origin,
    carry(path, units, stays = origin === "remote") {
      const [text, next] = [valueAt(before, path), valueAt(after, path)];
      if (typeof text !== "string" || typeof next !== "string") return null;
      const delta = deltaOf(operations, path, text, next);
      return toUnits(next, carriedOffset(delta, toCodePoints(text, units), stays));
    },
  };
}
