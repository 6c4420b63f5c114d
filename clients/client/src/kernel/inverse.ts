/** Inverses of operations. */

import { applyOne, find, get, type Operation, type Operations } from "./documents.js";
import { isGap } from "./paths.js";
import { invertDelta } from "./text.js";
import { inverseMove } from "./transform.js";
import type { Json } from "./values.js";

/** The operations that lead from the document after `operations` back to `document`; tests are left out. */
export function invert(document: Json, operations: Operations): Operation[] {
  const inverses: Operation[] = [];
  let before = document;
  for (const [index, operation] of operations.entries()) {
    if (operation[0] === "tst") continue;
    inverses.push(invertOne(before, operation));
    if (index < operations.length - 1) before = applyOne(before, operation, null);
  }
  return inverses.reverse();
}

function invertOne(document: Json, operation: Operation): Operation {
  const path = operation[1] as Operation[1] & object;
  switch (operation[0]) {
    case "ins":
      return ["rem", path];
    case "rem":
      return [isGap(path) ? "ins" : "set", path, get(document, path)];
    case "set": {
      const old = find(document, path);
      return old === undefined ? ["rem", path] : ["set", path, old];
    }
    case "txt":
      return ["txt", path, invertDelta(get(document, path) as string, operation[2])];
    case "inc":
      return ["inc", path, 0 - operation[2]];
    default:
      return inverseMove(path, operation[2] as typeof path);
  }
}
