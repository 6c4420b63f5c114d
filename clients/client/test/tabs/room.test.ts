/** Whose the changes are that a leading tab tells, where the server tells of none. */

import type { Json, Patch } from "@collab/client";
import { expect, test, vi } from "vitest";
import type { DocumentContext } from "../../src/documents/context.js";
import { Document } from "../../src/documents/document.js";
import type { SavedReplicator } from "../../src/documents/replicator.js";
import { Replica } from "../../src/kernel/index.js";
import { TabRoom } from "../../src/tabs/room.js";
import type { Payload } from "../../src/wire.js";

const EPOCH = 7;

/** A tab that leads, without a connection, one that follows it, and an edit of Ben's that both may have seen. */
async function led(value: Json = { title: "Sync", location: "" }, bens = replaced("/location", "Room 1")) {
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
  state.replicator.replace(new Replica(value, 5).toJSON());
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
  state.replicator.receive({ version: 6, operations: bens, ...by });
  /** The tab that follows edits, and has seen so many changes. */
  const edit = (seen: number, patch: Patch) => {
    const operations = patch as object as Json;
    return room.onSay("tab", "OP", "op-1", { epoch: EPOCH, version: 1 + seen, seq: 1, operations });
  };
  const entitle = (seen: number) => edit(seen, replaced("/title", "Lunch"));
  const asked = () => state.conflicts.map(({ path, userId, timestamp }) => ({ path, userId, timestamp }));
  return { room, document, state, replicator: state.replicator, told, edit, entitle, asked };
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

const ANN = { user_id: "ann", note: "" };
const CAROL = { user_id: "carol", note: "late" };
const DAVE = { user_id: "dave", note: "" };
const meeting = { title: "Sync", seats: 5, guests: [], attendees: [ANN, CAROL, DAVE] };
const move = (from: string, path: string): Patch => [{ op: "move", from, path }];

test.each<[string, Patch, Patch, object[]]>([
  [
    "what it wrote in an item that others wrote in",
    replaced("/attendees/1/note", "early"),
    [...replaced("/title", "Lunch"), ...replaced("/attendees/1/note", "never")],
    [{ kind: "overwrote", path: "/attendees/1/note", base: "late", mine: "never", theirs: "early" }],
  ],
  [
    "what it wrote in an item that it had moved and others wrote in",
    replaced("/attendees/2/note", "early"),
    [{ op: "remove", path: "/attendees/0" }, ...replaced("/attendees/1/note", "never")],
    [{ kind: "overwrote", path: "/attendees/1/note", base: "", mine: "never", theirs: "early" }],
  ],
  [
    "what it wrote in an item that others moved and wrote in",
    [{ op: "remove", path: "/attendees/0" }, ...replaced("/attendees/0/note", "early")],
    [...replaced("/title", "Lunch"), ...replaced("/attendees/1/note", "never")],
    [{ kind: "overwrote", path: "/attendees/0/note", base: "late", mine: "never", theirs: "early" }],
  ],
  [
    "what it wrote in an item that others removed",
    [{ op: "remove", path: "/attendees/1" }],
    [...replaced("/title", "Lunch"), ...replaced("/attendees/1/note", "never")],
    [{ kind: "dropped", base: "late", mine: "never", theirs: undefined, place: "lost" }],
  ],
  [
    "that it removed an item that others wrote in",
    replaced("/attendees/1/note", "early"),
    [{ op: "remove", path: "/attendees/1" }],
    [
      {
        kind: "overwrote",
        path: "/attendees/1",
        base: CAROL,
        theirs: { ...CAROL, note: "early" },
        place: "gap",
      },
    ],
  ],
  [
    "that it removed, after another, an item that others wrote in",
    replaced("/attendees/2/note", "early"),
    [
      { op: "remove", path: "/attendees/0" },
      { op: "remove", path: "/attendees/1" },
    ],
    [
      {
        kind: "overwrote",
        path: "/attendees/1",
        base: DAVE,
        theirs: { ...DAVE, note: "early" },
        place: "gap",
      },
    ],
  ],
  [
    "that it removed a member that others wrote",
    replaced("/title", "Dinner"),
    [{ op: "remove", path: "/title" }],
    [{ kind: "overwrote", path: "/title", base: "Sync", mine: undefined, theirs: "Dinner", place: "node" }],
  ],
  [
    "that it put another in the place of an item that others removed",
    [{ op: "remove", path: "/attendees/1" }],
    [{ op: "replace", path: "/attendees/1", value: ANN }],
    [{ kind: "overwrote", path: "/attendees/1", base: CAROL, mine: ANN, theirs: undefined }],
  ],
  [
    "that it added to a number that others wrote",
    replaced("/seats", 7),
    [{ op: "inc", path: "/seats", value: 1 }],
    [{ kind: "dropped", path: "/seats", base: 5, mine: 6, theirs: 7 }],
  ],
  [
    "nothing where both added to a number",
    [{ op: "inc", path: "/seats", value: 2 }],
    [{ op: "inc", path: "/seats", value: 1 }],
    [],
  ],
  [
    "that it moved an item that others removed",
    [{ op: "remove", path: "/attendees/1" }],
    [...move("/attendees/2", "/attendees/0"), ...move("/attendees/2", "/guests/0")],
    [{ kind: "dropped", base: CAROL, mine: undefined, theirs: undefined, place: "lost" }],
  ],
  [
    "that it moved an item into what others removed",
    [{ op: "remove", path: "/guests" }],
    move("/attendees/1", "/guests/0"),
    [{ kind: "dropped", base: CAROL, mine: undefined, theirs: undefined, place: "lost" }],
  ],
  [
    "nothing of a move that goes on from where others moved the item",
    move("/attendees/2", "/attendees/0"),
    move("/attendees/2", "/guests/0"),
    [],
  ],
  [
    "nothing where both moved an item to the same place",
    move("/attendees/2", "/attendees/0"),
    move("/attendees/2", "/attendees/0"),
    [],
  ],
  [
    "nothing where both removed",
    [{ op: "remove", path: "/attendees/1" }],
    [{ op: "remove", path: "/attendees/1" }],
    [],
  ],
  [
    "nothing of an item that it made itself",
    replaced("/attendees/1/note", "early"),
    [{ op: "add", path: "/attendees/1", value: ANN }, ...replaced("/attendees/1/note", "never")],
    [],
  ],
  [
    "nothing of other items than it removed",
    replaced("/attendees/1/note", "early"),
    [
      { op: "remove", path: "/attendees/0" },
      { op: "remove", path: "/attendees/1" },
    ],
    [],
  ],
])("of an edit of a following tab is asked %s", async (_, bens, patch, questions) => {
  const { edit, state } = await led(meeting, bens);
  await edit(0, patch);
  expect(state.conflicts).toMatchObject(questions);
  expect(state.conflicts).toHaveLength(questions.length);
});

test("an item that a following tab removed, unseen as others wrote it, is brought back by theirs", async () => {
  const { edit, state, document } = await led(meeting, replaced("/attendees/1/note", "early"));
  await edit(0, [
    { op: "remove", path: "/attendees/1" },
    { op: "remove", path: "/attendees/0" },
  ]);
  document.resolve(state.conflicts[0]?.id ?? "", "theirs");
  expect(document.snapshot.view).toEqual({ ...meeting, attendees: [{ ...CAROL, note: "early" }, DAVE] });
});

/** What a following tab wrote over Ben's, and is held back until it is asked. */
async function held() {
  const room = await led({ title: "Sync" }, replaced("/title", "Dinner"));
  room.state.options.onConflict = "ask";
  await room.entitle(0);
  expect(room.state.conflicts).toMatchObject([{ kind: "refused", mine: "Lunch", theirs: "Dinner" }]);
  const choose = (one: "mine" | "theirs") => room.document.resolve(room.state.conflicts[0]?.id ?? "", one);
  return { ...room, choose };
}

test("a move into what others removed, which would take the item away, is held back until it is asked", async () => {
  const { document, edit, replicator, state } = await led(meeting, [{ op: "remove", path: "/guests" }]);
  state.options.onConflict = "ask";
  await edit(0, move("/attendees/1", "/guests/0"));
  expect(state.conflicts).toMatchObject([{ kind: "refused", base: CAROL }]);
  expect(replicator.next()).toBeNull();
  document.resolve(state.conflicts[0]?.id ?? "", "theirs");
  expect(document.snapshot).toMatchObject({ view: { attendees: [ANN, CAROL, DAVE] }, conflicts: [] });
});

const RESUMED = { changes: [], version: 6, epoch: 1 };

test("theirs takes back what is held after a reconnection, also once the page was loaded anew", async () => {
  const { state, replicator, choose } = await held();
  replicator.resume(RESUMED);
  const { conflicts } = state;
  const record = structuredClone({ ...replicator.save(), conflicts, role: null, onConflict: "ask" as const });
  const next = await led();
  next.state.goOnWith(record as SavedReplicator & typeof record);
  next.replicator.resume(RESUMED);
  next.document.resolve(conflicts[0]?.id ?? "", "theirs");
  choose("theirs");
  for (const one of [{ state, replicator }, next]) {
    expect(one.state.cell.snapshot).toMatchObject({ view: { title: "Dinner" }, pending: 0, conflicts: [] });
    expect(one.replicator.next()).toBeNull();
  }
});

test.each([
  ["theirs", undefined],
  ["mine", replaced("/title", "Lunch")],
] as const)("of what is held while there is a connection, %s sends %j", async (answer, patch) => {
  const { state, replicator, choose } = await held();
  choose(answer);
  expect(replicator.next()?.patch).toEqual(patch);
  expect(state.conflicts).toEqual([]);
});

/** Where this user is, as the next connection hears it; a tab says each of these. */
async function placed(...said: (readonly [tab: string, field: string])[]) {
  const { room, state } = await led();
  for (const [tab] of said) await room.onSay(tab, "SUBSCRIBE", "1", {});
  for (const [tab, field] of said) {
    const cursor = { field, ...(field && { position: 0, version: 2 }) };
    await room.onSay(tab, "PRESENCE_UPDATE", "2", { cursor });
  }
  const told = () => {
    const send = vi.spyOn(state, "send");
    state.presence.resume();
    return send.mock.calls.map(([, payload]) => payload.cursor);
  };
  return { room, told };
}

test("a caret of a tab that followed isn't that of the one that led", async () => {
  const { room, told } = await placed(["one", "title"]);
  room.end();
  expect(told()).toEqual([{ field: "" }]);
});

test("who leaves a tab for another is in that one, whichever tells first", async () => {
  const { told } = await placed(["one", "title"], ["two", "location"], ["one", ""]);
  expect(told()).toMatchObject([{ field: "location" }]);
});
