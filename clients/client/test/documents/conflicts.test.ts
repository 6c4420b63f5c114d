/** Conflicts of one session beside those that the session before kept. */

import { expect, test, vi } from "vitest";

/** A conflict as the client has it that has just been loaded. */
async function found() {
  vi.resetModules();
  const { fromMerge } = await import("../../src/documents/conflicts.js");
  return fromMerge({ path: "/title", base: "Sync", mine: "Mine", theirs: "Theirs" }, 5);
}

test("after a reload no new conflict goes by the name of a kept one", async () => {
  const kept = await found();
  expect((await found()).id).not.toBe(kept.id);
});
