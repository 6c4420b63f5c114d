/** What a change did to a text, which each cursor in it asks. */

import { expect, test } from "vitest";
import { deltaOf, viewChange } from "../../src/documents/change.js";

const written = (text: string) => ({ text, note: text });

test("a text is compared once, however many cursors go through its change", () => {
  const [before, after] = [written("one two three"), written("one 2 three")];
  const delta = deltaOf([], "/text", before, after);
  expect(delta).toEqual([4, -3, "2"]);
  expect(deltaOf([], "/text", before, after)).toBe(delta);
});

test("of each text, and of each two documents, it is another", () => {
  const [before, after] = [written("one"), { text: "one, two", note: "none" }];
  expect(deltaOf([], "/text", before, after)).toEqual([3, ", two"]);
  expect(deltaOf([], "/note", before, after)).toEqual(["n"]);
  expect(deltaOf([], "/text", after, before)).toEqual([3, -5]);
});

test("where an edit tells it, it isn't compared", () => {
  const [before, after] = [written("aa"), written("aaa")];
  const told = deltaOf([["txt", ["text"], [1, "a"]]], "/text", before, after);
  expect(told).toEqual([1, "a"]);
  expect(deltaOf([], "/text", before, after)).toBe(told);
});

test("in a document that is a text itself it is told as well", () => {
  const { carry } = viewChange(
    { before: "one two", operations: [], after: "one, two", author: null },
    "remote",
  );
  expect(carry("", 7)).toBe(8);
});
