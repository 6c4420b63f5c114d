import {
  apply,
  canonical,
  carriedOffset,
  composed,
  equal,
  type Json,
  lower,
  toCodePoints,
  toUnits,
} from "@collab/client/kernel";
import { describe, expect, it } from "vitest";

const set = (value: unknown) => lower({ a: 0 }, [{ op: "replace", path: "/a", value: value as null }]);
const stored = (value: unknown) => (apply({ a: 0 }, set(value)) as { a: unknown }).a;

describe("numbers", () => {
  it("are of one kind: 1, 1.0 and 1e0 are the same, in a test and in what is identical", () => {
    expect(equal(JSON.parse("1.0"), JSON.parse("1e0"))).toBe(true);
    expect(equal(1, true)).toBe(false);
    expect(canonical(JSON.parse("[1.0, 1e0, 1e21, 0.000001, 1e-7]"))).toBe("[1,1,1e+21,0.000001,1e-7]");
  });

  it("are stored without a negative zero", () => {
    expect(Object.is(stored(-0), 0)).toBe(true);
    expect(Object.is((stored([{ b: -0 }]) as [{ b: number }])[0].b, 0)).toBe(true);
  });

  it.each([2 ** 53, -(2 ** 53), 1e20, Number.NaN, Number.POSITIVE_INFINITY])(
    "such as %s are refused",
    (number) => {
      expect(() => set(number)).toThrow(expect.objectContaining({ code: "INVALID_OPERATION", index: 0 }));
    },
  );

  it("may be as large as JSON writes with an exponent", () => {
    expect(stored(1e21)).toBe(1e21);
    expect(stored(2 ** 53 - 1)).toBe(2 ** 53 - 1);
  });
});

describe("values", () => {
  it.each([["\ud800"], [{ "\udc00": 1 }], [new Date()], [undefined], [() => 1], [1n], [new Map()]])(
    "that JSON doesn't have are refused: %o",
    (value) => {
      expect(() => set(value)).toThrow(expect.objectContaining({ code: "INVALID_OPERATION" }));
    },
  );

  it("that hold themselves are refused", () => {
    const endless: { me?: unknown; too?: unknown } = {};
    endless.me = endless.too = endless;
    expect(() => set(endless)).toThrow(expect.objectContaining({ code: "INVALID_OPERATION" }));
  });

  it("are copied, so that whoever edits keeps what is theirs", () => {
    const mine = { tags: ["a"] };
    const document = stored(mine);
    mine.tags.push("b");
    expect(document).toEqual({ tags: ["a"] });
  });

  it("nest 64 deep at most", () => {
    const nested = (depth: number): unknown => (depth ? [nested(depth - 1)] : 0);
    expect(() => set(nested(63))).not.toThrow();
    expect(() => set(nested(64))).toThrow(expect.objectContaining({ code: "TOO_LARGE" }));
    expect(() => set(nested(5000))).toThrow(expect.objectContaining({ code: "TOO_LARGE" }));
  });
});

describe("offsets", () => {
  it("are converted between UTF-16 units and code points", () => {
    const text = "a😀b";
    expect([0, 1, 3, 4].map((unit) => toCodePoints(text, unit))).toEqual([0, 1, 2, 3]);
    expect([0, 1, 2, 3, 9].map((point) => toUnits(text, point))).toEqual([0, 1, 3, 4, 4]);
  });

  it("are carried through an edit of the text", () => {
    const delta = [2, "xy", -3]; // at 2: two letters in, three out
    expect([0, 2, 3, 5, 6].map((offset) => carriedOffset(delta, offset))).toEqual([0, 4, 4, 4, 5]);
    expect(carriedOffset(delta, 2, true)).toBe(2);
  });

  it("stay what they were where edits are made one", () => {
    const edits = [
      ["txt", ["t"], [1, "😀b"]],
      ["txt", ["t"], [2, "c", -1]],
      ["inc", ["n"], 2],
      ["inc", ["n"], -2],
    ] as const;
    expect(composed(edits)).toEqual([["txt", ["t"], [1, "😀c"]]]);
  });
});

describe("an array that only grows", () => {
  const log = [{ text: "a" }, { text: "b" }];
  const strategies = { "/log": { grow: "id" } } as const;
  const edited = (value: Json) => lower({ log }, [{ op: "replace", path: "/log", value }], strategies);

  it.each([[{ text: "c" }], null, "gone"])("may become %j where no item has an id", (value) => {
    expect(edited(value as Json)).toEqual([["set", ["log"], value]]);
    expect(lower({ log }, [{ op: "remove", path: "/log" }], strategies)).toEqual([["rem", ["log"]]]);
  });
});
