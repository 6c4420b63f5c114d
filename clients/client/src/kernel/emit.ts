/** From kernel operations back to a JSON Patch, and the form in which operations are committed. */

import { applyOne, find, get, type Move, type Operation, type Operations, type Own } from "./documents.js";
import { afterRemove, formatPointer, isInside, type Path } from "./paths.js";
import { type TextComponent, writeDelta } from "./text.js";
import type { Json } from "./values.js";

/** One operation of a JSON Patch (RFC 6902), or one of the two that are added to them. */
export type PatchOperation =
  | { op: "add" | "replace" | "test"; path: string; value: Json }
  | { op: "remove"; path: string }
  | { op: "move" | "copy"; from: string; path: string }
  | { op: "text"; path: string; value: readonly TextComponent[]; unit?: "codepoint" | "utf16" }
  | { op: "inc"; path: string; value: number };
export type Patch = readonly PatchOperation[];

/** The JSON Patch that does to `document` what `operations` do; with `tests` also their tests. */
export function emit(document: Json, operations: Operations, tests = false): PatchOperation[] {
  const own: Own = operations.length > 1 ? new Set() : null;
  const patch: PatchOperation[] = [];
  let before = document;
  for (const [index, operation] of operations.entries()) {
    if (operation[0] === "tst") {
      const [, path, value] = operation;
      if (tests && path) patch.push({ op: "test", path: formatPointer(path), value });
      continue;
    }
    patch.push(...emitOne(before, operation));
    if (index < operations.length - 1) before = applyOne(before, operation, own);
  }
  return patch;
}

function emitOne(
  document: Json,
  operation: Exclude<Operation, readonly ["tst", ...unknown[]]>,
): PatchOperation[] {
  const path = formatPointer(operation[1]);
  switch (operation[0]) {
    case "set": {
      const isThere = document !== null && find(document, operation[1]) !== undefined;
      return [{ op: isThere ? "replace" : "add", path, value: operation[2] }];
    }
    case "ins":
      return [{ op: "add", path, value: operation[2] }];
    case "rem":
      return [{ op: "remove", path }];
    case "txt":
      return [{ op: "text", path, value: writeDelta(operation[2]) }];
    case "inc":
      return [{ op: "inc", path, value: operation[2] }];
    default:
      return hops(document, operation).map(([, source, target]) => ({
        op: "move",
        from: formatPointer(source),
        path: formatPointer(afterRemove(target, source)),
      }));
  }
}

/** Would `from` be a prefix of `path`? */
const needsHops = ([, source, target]: Move): boolean => isInside(afterRemove(target, source), source);

/**
 * A move, or the two that stand for it: a move into the next sibling has no RFC 6902 form, so it goes by way
 * of the end of the array.
 */
function hops(document: Json, move: Move): Move[] {
  if (!needsHops(move)) return [move];
  const [, source, target] = move;
  const array: Path = source.slice(0, -1);
  const size = (get(document, array) as readonly Json[]).length;
  return [
    ["mov", source, [...array, size]],
    ["mov", [...array, size - 1], afterRemove(target, source)],
  ];
}

/** `operations` as they are committed: what `lower` makes of what `emit` writes. */
export function settle(document: Json, operations: Operations, tests = false): Operations {
  const stands = (operation: Operation): boolean =>
    operation[0] === "tst" ? tests : operation[0] !== "mov" || !needsHops(operation);
  if (operations.every(stands)) return operations;
  const result: Operation[] = [];
  const own: Own = new Set();
  let before = document;
  for (const operation of operations) {
    if (operation[0] === "tst") {
      if (tests) result.push(operation);
      continue;
    }
    result.push(...(operation[0] === "mov" ? hops(before, operation) : [operation]));
    before = applyOne(before, operation, own);
  }
  return result;
}
