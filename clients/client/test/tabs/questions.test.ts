/** What it costs to find out what a leading tab asks. */

import type { Json, Patch } from "@collab/client";
import { expect, test } from "vitest";
import { apply, lower, type Operation, type Operations } from "../../src/kernel/index.js";
import { unseen, type ViewStep } from "../../src/tabs/questions.js";

/** How often the operations of an edit of so many items are looked at, where others wrote this. */
function looks(count: number, bens: Patch): number {
  const items = Array.from({ length: count }, (_, id) => ({ id, note: "" }));
  const base: Json = { title: "Sync", items };
  const theirs = lower(base, bens, {});
  const since: ViewStep[] = [{ before: base, operations: theirs, after: apply(base, theirs), author: "ben" }];
  const patch: Patch = items.map((_, at) => ({ op: "replace", path: `/items/${at}/note`, value: "never" }));
  let reads = 0;
  const get = (operation: Operation, name: string | symbol) => {
    reads++;
    return Reflect.get(operation, name);
  };
  const counted: Operations = lower(base, patch, {}).map((operation) => new Proxy(operation, { get }));
  expect(unseen(base, counted, since, [], "ann")).toEqual([]);
  return reads;
}

test("what a large edit costs where nobody wrote near it grows with its length, not with the square of it", () => {
  const bens: Patch = [{ op: "replace", path: "/title", value: "Lunch" }];
  expect(looks(200, bens)).toBeLessThan(3 * looks(100, bens));
});
