import { apply, canonical, type Json, lower, merge, type Strategies } from "@collab/client/kernel";
import { describe, expect, it } from "vitest";

const STRATEGIES: Strategies = {
  "/tags": "set",
  "/attendees": { set: "user_id" },
  "/seen": "grow",
  "/count": "counter",
  "/text": "text",
};

function merged(base: Json, mine: Json, theirs: Json) {
  const { patch, conflicts } = merge(base, mine, theirs, STRATEGIES);
  return { document: apply(theirs, lower(theirs, patch)), conflicts };
}

describe("merging three states", () => {
  const base = {
    title: "Tea",
    count: 1,
    text: "Bring cake.",
    tags: ["a", "b"],
    seen: ["x"],
    attendees: [{ user_id: "u1", status: "?" }],
  };

  it("keeps what only one side changed", () => {
    const mine = { ...base, title: "Coffee" };
    expect(merged(base, mine, base)).toEqual({ document: mine, conflicts: [] });
    expect(merged(base, base, mine)).toEqual({ document: mine, conflicts: [] });
    expect(merged(base, mine, mine)).toEqual({ document: mine, conflicts: [] });
  });

  it("keeps theirs where both changed a register, and says so", () => {
    const { document, conflicts } = merged(base, { ...base, title: "Coffee" }, { ...base, title: "Cocoa" });
    expect(document).toEqual({ ...base, title: "Cocoa" });
    expect(conflicts).toEqual([{ path: "/title", base: "Tea", mine: "Coffee", theirs: "Cocoa" }]);
  });

  it("leaves a removed side out of a conflict", () => {
    const { title: _, ...mine } = base;
    const { conflicts } = merged(base, mine, { ...base, title: "Cocoa" });
    expect(conflicts).toEqual([{ path: "/title", base: "Tea", theirs: "Cocoa" }]);
  });

  it("adds up counters, merges texts by their spans and sets by id", () => {
    const mine = {
      ...base,
      count: 4,
      text: "Please bring cake.",
      tags: ["b", "c"],
      seen: ["x", "y"],
      attendees: [{ user_id: "u1", status: "yes" }, { user_id: "u2" }],
    };
    const theirs = { ...base, count: 0, text: "Bring cake and tea.", tags: ["a", "b", "d"], seen: ["z"] };
    const { document, conflicts } = merged(base, mine, theirs);
    expect(conflicts).toEqual([]);
    expect(document).toEqual({
      ...base,
      count: 3,
      text: expect.stringMatching(/^Please bring cake and tea\.$/),
      tags: ["b", "d", "c"],
      seen: ["z", "x", "y"],
      attendees: [{ user_id: "u1", status: "yes" }, { user_id: "u2" }],
    });
  });

  it("keeps an item that was removed here and changed there, and says so", () => {
    const theirs = { ...base, attendees: [{ user_id: "u1", status: "no" }] };
    const { document, conflicts } = merged(base, { ...base, attendees: [] }, theirs);
    expect(canonical(document)).toBe(canonical(theirs));
    expect(conflicts).toMatchObject([{ path: "/attendees/0", theirs: { user_id: "u1", status: "no" } }]);
  });
});
