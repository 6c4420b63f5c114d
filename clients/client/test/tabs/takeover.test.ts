/** What is told while a tab takes over another's queue. */

import type { Json, ViewChange } from "@collab/client";
import { expect, test } from "vitest";
import type { DocumentContext } from "../../src/documents/context.js";
import { DocumentState } from "../../src/documents/state.js";
import { Replica } from "../../src/kernel/index.js";
import { takeOver } from "../../src/tabs/takeover.js";

/** A document of a tab, with this much in the store. */
function following(stored: () => Json): DocumentState {
  const keeper = { load: async () => stored() };
  const context = { keeper, clientId: () => "ann", strategies: () => ({}), onChanged: () => {} };
  return new DocumentState("event", "1", context as unknown as DocumentContext);
}

test("what the other tab hadn't stored is edited upon what it had, and told step by step", async () => {
  let saved: Json = null;
  const state = following(() => saved);
  const { replicator } = state;
  replicator.replace(new Replica({ title: "Sync", place: "" }, 5).toJSON());
  replicator.edit([{ op: "replace", path: "/place", value: "Room 1" }]);
  saved = structuredClone({ ...replicator.save(), conflicts: [] }) as unknown as Json;
  replicator.replace(new Replica({ title: "Sync", place: "" }, 5).toJSON());
  replicator.edit([{ op: "replace", path: "/title", value: "Mine" }]);

  const told: ViewChange[] = [];
  state.changes.add((change) => told.push(change));
  let view = state.view;
  await takeOver(state);
  expect(state.view).toEqual({ title: "Mine", place: "Room 1" });
  for (const { before, after } of told) {
    expect(before).toEqual(view);
    view = after;
  }
  expect(view).toEqual(state.view);
  expect(told).toHaveLength(2);
});
