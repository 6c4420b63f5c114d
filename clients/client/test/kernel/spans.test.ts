import { apply, composeDelta, type Json, lower, textDifference, transform } from "@collab/client/kernel";
import { describe, expect, it } from "vitest";

const text = (value: string): Json => ({ text: value });
const replaced = (value: string) =>
  lower(text("Bring cake."), [{ op: "replace", path: "/text", value }], { "/text": "text" });

/** Mulberry32. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

describe("the difference of two texts", () => {
  it("is what its author changed, so that both sides' changes stay", () => {
    const { later } = transform(replaced("Bring cake and tea."), replaced("Please bring cake!"));
    expect(apply(text("Bring cake and tea."), later)).toEqual(text("Please bring cake and tea!"));
  });

  it("keeps words whole, and replaces by deleting first", () => {
    expect(textDifference("the old house", "the new house")).toEqual([4, -3, "new"]);
    expect(textDifference("one two three", "one 2 three four")).toEqual([4, -3, "2", 6, " four"]);
  });

  it("cuts no surrogate pair, and counts code points", () => {
    expect(textDifference("a😀b", "a😁b")).toEqual([1, -1, "😁"]);
    expect(textDifference("😀", "😀😀")).toEqual([1, "😀"]);
  });

  it("leads from one to the other, whatever they are, and as quickly where they have nothing in common", () => {
    const random = generator(5);
    const words = ["ab", "cd", " ", "😀", "日本", ".", "x", "hello", ", "];
    const made = (length: number) => Array.from({ length: random(length) }, () => words[random(9)]).join("");
    for (let round = 0; round < 2000; round++) {
      const [old, now] = [made(30), made(30)];
      expect(apply(text(old), [["txt", ["text"], textDifference(old, now)]])).toEqual(text(now));
    }
    const long = (letter: string) => Array.from({ length: 20_000 }, (_, i) => letter + i).join(" ");
    expect(textDifference(long("a"), long("b"))).toHaveLength(2);
  });
});

describe("two deltas as one", () => {
  it("do what both do", () => {
    const random = generator(7);
    const letters = [..."ab😀日"];
    const delta = (size: number) => {
      const parts: (string | number)[] = [];
      for (let left = size; left > 0 && parts.length < 6; ) {
        const span = 1 + random(left);
        const kind = random(3);
        if (kind === 0) parts.push(letters[random(4)]!);
        else {
          parts.push(kind === 1 ? span : -span);
          left -= span;
        }
      }
      return parts;
    };
    for (let round = 0; round < 2000; round++) {
      const old = Array.from({ length: random(12) }, () => letters[random(4)]).join("");
      const first = delta([...old].length);
      const middle = apply(old, [["txt", [], first]]) as string;
      const second = delta([...middle].length);
      const both = composeDelta(first, second);
      expect(apply(old, [["txt", [], both]])).toBe(apply(middle, [["txt", [], second]]));
    }
  });
});
