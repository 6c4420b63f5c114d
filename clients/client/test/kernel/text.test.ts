/** What an edit of a long text costs whoever follows it. */

import { apply, lower } from "@collab/client/kernel";
import { afterEach, expect, test, vi } from "vitest";

afterEach(() => vi.restoreAllMocks());

test("a long text that isn't flat is looked through once, however many components a delta has", () => {
  const text = `${"a".repeat(1_000)}😀`;
  const value = Array.from({ length: 500 }, () => [1, "x"]).flat();
  const asked = vi.spyOn(RegExp.prototype, "test");
  const operations = lower(text, [{ op: "text", path: "", value }], {}, null);
  const after = apply(text, operations);
  expect(asked.mock.calls.filter(([looked]) => looked === text)).toHaveLength(1);
  expect(after).toBe(`${"ax".repeat(500)}${"a".repeat(500)}😀`);
});
