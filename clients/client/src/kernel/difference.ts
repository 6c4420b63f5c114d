/** The operations that lead from one document to another, for merging a whole state into pending edits. */

import type { Operation } from "./documents.js";
import type { Path } from "./paths.js";
import { difference as textDifference } from "./spans.js";
import { equal, has, isArray, isObject, type Json, type JsonArray } from "./values.js";

/** Operations on `before` that give `after`: members one by one, arrays by the span that differs. */
export function difference(before: Json, after: Json, path: Path = []): Operation[] {
  if (equal(before, after)) return [];
  if (isArray(before) && isArray(after)) return ofItems(before, after, path);
  if (isObject(before) && isObject(after)) {
    const gone = Object.keys(before).filter((key) => !has(after, key));
    const operations: Operation[] = gone.map((key) => ["rem", [...path, key]]);
    for (const [key, value] of Object.entries(after)) {
      const at = [...path, key];
      if (has(before, key)) operations.push(...difference(before[key] as Json, value, at));
      else operations.push(["set", at, value]);
    }
    return operations;
  }
  if (typeof before === "string" && typeof after === "string") {
    return [["txt", path, textDifference(before, after)]];
  }
  return [["set", path, after]];
}

function ofItems(before: JsonArray, after: JsonArray, path: Path): Operation[] {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && equal(before[start], after[start])) start++;
  let end = 0;
  while (end < shorter - start && equal(before.at(-1 - end), after.at(-1 - end))) end++;
  const old = before.slice(start, before.length - end);
  const now = after.slice(start, after.length - end);
  if (old.length === now.length) {
    return now.flatMap((item, offset) => difference(old[offset] as Json, item, [...path, start + offset]));
  }
  return [
    ...old.map((): Operation => ["rem", [...path, start]]),
    ...now.map((item, offset): Operation => ["ins", [...path, start + offset], item]),
  ];
}
