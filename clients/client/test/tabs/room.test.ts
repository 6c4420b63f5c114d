/** Whose the changes are that a leading tab tells, where the server tells of none. */

import type { Json, Patch } from "@collab/client";
import { expect, test } from "vitest";
import type { DocumentContext } from "../../src/documents/context.js";
import { Document } from "../../src/documents/document.js";
import { Replica } from "../../src/kernel/index.js";
import { TabRoom } from "../../src/tabs/room.js";
import type { Payload } from "../../src/wire.js";

const EPOCH = 7;

/** A tab that leads, without a connection, one that follows it, and an edit of Ben's that both have seen. */
async function led() {
  const keeper = {
    save: async () => true,
    isOwner: true,
    isFailing: false,
    changed: { add: () => () => {} },
  };
  const environment = { setTimeout: () => null, clearTimeout: () => {}, now: () => 0 };
  const nothing = { onChanged: () => {}, onProblem: () => {}, nudge: () => {}, link: () => null };
  const context = {
    ...{ keeper, environment, ...nothing },
    ...{ clientId: () => "ann", strategies: () => ({}), isVisible: () => true },
  };
  const document = new Document<Json>("event", "1", context as unknown as DocumentContext, () => {});
  const { state } = document;
  state.replicator.replace(new Replica({ title: "Sync", location: "" }, 5).toJSON());
  state.replicator.epoch = 1;
  state.becomeReady();
  state.refresh();
  const told: Payload[] = [];
  const room = new TabRoom(document, EPOCH, {
    tell: (_, type, payload) => {
      if (type === "OP_BROADCAST") told.push(payload as Payload);
    },
    onStanding: () => {},
  });
  await room.onSay("tab", "SUBSCRIBE", "1", {});
  const by = { client_id: "b", user_id: "ben", timestamp: 1 };
  state.replicator.receive({ version: 6, operations: replaced("/location", "Room 1"), ...by });
  /** The tab that follows makes a title, and has seen so many changes. */
  const entitle = (seen: number) => {
    const operations = replaced("/title", "Lunch") as object as Json;
    return room.onSay("tab", "OP", "op-1", { epoch: EPOCH, version: 1 + seen, seq: 1, operations });
  };
  const asked = () => state.conflicts.map(({ path, userId, timestamp }) => ({ path, userId, timestamp }));
  return { document, replicator: state.replicator, told, entitle, asked };
}

const replaced = (path: string, value: Json): Patch => [{ op: "replace", path, value }];

test("what another user wrote is told as that user's", async () => {
  const { told, entitle, asked, replicator } = await led();
  const by = { client_id: "c", user_id: "carol", timestamp: 2 };
  replicator.receive({ version: 7, operations: replaced("/title", "Dinner"), ...by });
  await entitle(1);
  expect(asked()).toEqual([{ path: "/title", userId: "carol", timestamp: 2 }]);
  expect(told.map(({ user_id }) => user_id)).toEqual(["ben", "carol"]);
});

test.each([
  ["that the document is gone in another history", "", null],
  ["what is in the document in another history", "/title", { title: "Dinner", location: "Room 1" }],
])("%s is told as nobody's, whoever wrote before", async (_, path, state) => {
  const { told, entitle, asked, replicator } = await led();
  replicator.resume({ state, version: 9, epoch: 2 });
  await entitle(1);
  expect(asked()).toEqual([{ path, userId: null, timestamp: null }]);
  expect(told.map(({ user_id }) => user_id)).toEqual(["ben", undefined]);
});

test("what a leading tab's refused edit leaves is told as nobody's, whoever wrote before", async () => {
  const { document, told, entitle, asked, replicator } = await led();
  document.set("/title", "Dinner");
  replicator.next();
  replicator.withdraw();
  await entitle(2);
  expect(asked()).toEqual([{ path: "/title", userId: null, timestamp: null }]);
  expect(told.map(({ user_id }) => user_id)).toEqual(["ben", undefined, undefined]);
});
