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
function deltaOf(operations: Operations, path: string, before: string, after: string): Delta {
  const [only] = operations;
  if (operations.length === 1 && only?.[0] === "txt" && formatPointer(only[1]) === path) return only[2];
  return textDifference(before, after);
}

/** Where an offset (in code points) in the text at a pointer goes; null where there is no text before or after. */
export function carried(
  change: { before: Json; after: Json; operations: Operations },
  path: string,
  offset: number,
  stays: boolean,
): number | null {
  const before = valueAt(change.before, path);
  const after = valueAt(change.after, path);
  if (typeof before !== "string" || typeof after !== "string") return null;
  if (before === after) return offset;
  return carriedOffset(deltaOf(change.operations, path, before, after), offset, stays);
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
      const text = valueAt(before, path);
      if (typeof text !== "string") return null;
      const change = { before, after, operations };
      const offset = carried(change, path, toCodePoints(text, units), stays);
      return offset === null ? null : toUnits(valueAt(after, path) as string, offset);
    },
  };
}
