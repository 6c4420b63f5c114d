/** What is told while a tab takes over another's queue. */

import type { Json, PatchOperation, ViewChange } from "@collab/client";
import { describe, expect, test } from "vitest";
import { fromMerge } from "../../src/documents/conflicts.js";
import type { DocumentContext } from "../../src/documents/context.js";
import { NO_EPOCH } from "../../src/documents/replicator.js";
import { DocumentState } from "../../src/documents/state.js";
import { Replica } from "../../src/kernel/index.js";
import { follow } from "../../src/tabs/follower.js";
import { handOver, takeOver } from "../../src/tabs/takeover.js";
import type { Change } from "../../src/wire.js";

/** A document of a tab whose store has this much. */
function following(stored: () => Json): DocumentState {
  const keeper = { load: async () => stored(), save: async () => false };
  const environment = { setTimeout: () => null, clearTimeout: () => {} };
  const context = { keeper, environment, clientId: () => "ann", strategies: () => ({}), onChanged: () => {} };
  return new DocumentState("event", "1", context as unknown as DocumentContext);
}

const leads = () => true;

test("what the other tab hadn't stored is edited upon what it had, told step by step, and kept", async () => {
  const start = new Replica({ title: "Sync", place: "" }, 5).toJSON();
  const leading = following(() => null).replicator;
  leading.replace(start);
  leading.edit([{ op: "replace", path: "/place", value: "Room 1" }]);
  const saved = structuredClone({ ...leading.save(), conflicts: [] }) as unknown as Json;
  const state = following(() => saved);
  state.replicator.replace(start);
  state.replicator.edit([{ op: "replace", path: "/title", value: "Mine" }]);
  const arrived = state.saved.wait(1, 0);

  const told: ViewChange[] = [];
  state.changes.add((change) => told.push(change));
  let view = state.view;
  await takeOver(state, leads);
  expect(state.view).toEqual({ title: "Mine", place: "Room 1" });
  for (const { before, after } of told) {
    expect(before).toEqual(view);
    view = after;
  }
  expect(view).toEqual(state.view);
  expect(told).toHaveLength(2);
  expect(state.cell.snapshot).toMatchObject({ status: "ready", pending: 2, isStored: false });

  state.replicator.next();
  state.replicator.acknowledge(1, { version: 6 });
  state.refresh();
  await arrived;
});

test("what the other tab has as well has arrived with it", async () => {
  const saved = { ...new Replica({ title: "Mine" }, 6).toJSON() };
  const record = { replica: saved, epoch: 1, edits: 0, flying: 0, conflicts: [], role: "editor" };
  const state = following(() => record as unknown as Json);
  state.replicator.replace(new Replica({ title: "Sync" }, 5).toJSON());
  for (const title of ["M", "Mine"]) {
    state.replicator.edit([{ op: "replace", path: "/title", value: title }]);
  }
  const arrived = state.saved.wait(2, 0);
  await takeOver(state, leads);
  expect(state.cell.snapshot).toMatchObject({ view: { title: "Mine" }, pending: 0 });
  await arrived;
});

test("who waits for an edit that wasn't handed over waits for those before it as well", async () => {
  const leading = following(() => null).replicator;
  leading.replace(new Replica({ title: "Sync" }, 5).toJSON());
  for (const title of ["One", "Two"]) leading.edit([{ op: "replace", path: "/title", value: title }]);
  leading.next();
  const record = structuredClone({ ...leading.save(), conflicts: [] }) as unknown as Json;
  const state = following(() => record);
  state.replicator.replace(new Replica({ title: "Two" }, 7).toJSON());
  state.replicator.edit([{ op: "add", path: "/location", value: "Room 1" }]);
  let isSaved = false;
  const saved = state.saved.wait(1, 0).then(() => {
    isSaved = true;
  });
  await takeOver(state, leads);
  const arrive = async (seq: number, version: number) => {
    state.replicator.next();
    state.replicator.acknowledge(seq, { version });
    state.refresh();
    await Promise.resolve();
  };
  await arrive(1, 6);
  expect([isSaved, state.replicator.flight.pending]).toEqual([false, 1]);
  await arrive(2, 7);
  await saved;
});

test("what was asked about is sent, and asked about, again after another tab had the lead", async () => {
  const saved = { ...new Replica({ title: "Sync" }, 5).toJSON() };
  const leading = following(() => null).replicator;
  leading.replace(saved);
  leading.edit([{ op: "replace", path: "/title", value: "Mine" }]);
  leading.next();
  const record = structuredClone({ ...leading.save(), conflicts: [] }) as unknown as Json;
  const state = following(() => record);
  state.goOnWith(record as never);
  state.replicator.flight.isAsking = true;
  await takeOver(state, leads);
  expect(state.replicator.next()).toMatchObject({ patch: [{ path: "/title", value: "Mine" }] });
});

test("a tab that lost the lead has handed over what it had stored, and adds what came later", async () => {
  const leader = following(() => null);
  leader.replicator.begin();
  leader.replicator.edit([{ op: "add", path: "", value: { text: "", title: "Sync" } }]);
  leader.replicator.edit([{ op: "text", path: "/text", value: ["hello"] }]);
  const record = structuredClone({ ...leader.replicator.save(), conflicts: [] }) as unknown as Json;
  const state = following(() => record);
  await takeOver(state, leads);
  handOver(state);
  state.refresh();
  expect(state.cell.snapshot).toMatchObject({ pending: 2, isStored: true, isLive: false });
  expect(state.replicator.epoch).not.toBe(NO_EPOCH); // the leading tab is not to begin it anew

  state.replicator.edit([{ op: "replace", path: "/title", value: "Awake" }]);
  expect(state.replicator.next()).toMatchObject({ patch: [{ path: "/title" }] });
  await takeOver(state, leads);
  expect(state.cell.snapshot).toMatchObject({ view: { text: "hello", title: "Awake" }, pending: 3 });
  expect(state.conflicts).toEqual([]);
});

test("a lead that is lost while a record is read takes over nothing", async () => {
  const record = { replica: new Replica({ title: "Old" }, 5).toJSON(), epoch: 1, edits: 0, flying: 0 };
  const state = following(() => ({ ...record, conflicts: [], role: "editor" }) as unknown as Json);
  state.replicator.replace(new Replica({ title: "Followed" }, 3).toJSON());
  state.replicator.epoch = 7;
  const standing = { version: 6, role: null, pending: 0, isStored: true, isLive: true, conflicts: [] };
  follow(state, standing);
  let isLeading = true;
  const taken = takeOver(state, () => isLeading);
  isLeading = false;
  await taken;
  expect(state).toMatchObject({
    view: { title: "Followed" },
    leading: { standing },
    replicator: { epoch: 7 },
  });
});

test("the other tab's conflicts stand where it had them, and this tab's are carried to what it stored", async () => {
  const found = (path: string) => fromMerge({ path, base: "", mine: path, theirs: "" } as never, 5);
  const record = {
    replica: new Replica({ items: ["x", "a", "b"] }, 6).toJSON(),
    epoch: 1,
    edits: 0,
    flying: 0,
  };
  const conflicts = [found("/items/0")];
  const state = following(() => ({ ...record, conflicts, role: "editor" }) as unknown as Json);
  state.replicator.replace(new Replica({ items: ["a", "b"] }, 5).toJSON());
  follow(state, { version: 5, role: null, pending: 0, isStored: true, isLive: true, conflicts: [] });
  state.onConflicts([found("/items/1")]);
  await takeOver(state, leads);
  expect(state.conflicts.map(({ path, mine }) => [path, mine])).toEqual([
    ["/items/0", "/items/0"],
    ["/items/2", "/items/1"],
  ]);
});

test("a lead that is lost before anything was written hands over what it had read", async () => {
  const leader = following(() => null).replicator;
  leader.replace(new Replica({ text: "" }, 5).toJSON());
  leader.edit([{ op: "text", path: "/text", value: ["hello"] }]);
  const record = structuredClone({ ...leader.save(), conflicts: [] }) as unknown as Json;
  const state = following(() => record);
  state.replicator.replace(new Replica({ text: "hello" }, 7).toJSON());
  follow(state, { version: 5, role: null, pending: 1, isStored: true, isLive: true, conflicts: [] });
  await takeOver(state, leads);
  expect(state.cell.snapshot).toMatchObject({ pending: 1, isStored: true });
  handOver(state);
  expect(state.replicator.next()).toBe(null);
});

const byBen = (version: number, delta: Json): Change => {
  const operations = [{ op: "text", path: "/text", value: delta } as PatchOperation];
  return { version, operations, client_id: "ben", user_id: "ben", timestamp: 1 };
};

test("what others wrote after the last write isn't handed over as this tab's", async () => {
  const record = { replica: new Replica({ text: "" }, 5).toJSON(), epoch: 1, edits: 0, flying: 0 };
  const state = following(() => ({ ...record, conflicts: [], role: "editor" }) as unknown as Json);
  await takeOver(state, leads);
  state.replicator.receive(byBen(6, ["theirs"]));
  handOver(state);
  expect(state.view).toEqual({ text: "theirs" });
  expect(state.replicator.next()).toBe(null);
  expect(state.replicator.flight.pending).toBe(0);
});

test("what the server acknowledged isn't handed over though it could not be stored", async () => {
  const record = { replica: new Replica({ text: "" }, 5).toJSON(), epoch: 1, edits: 0, flying: 0 };
  const state = following(() => ({ ...record, conflicts: [], role: "editor" }) as unknown as Json);
  await takeOver(state, leads);
  state.edited(() => state.replicator.edit([{ op: "text", path: "/text", value: ["mine"] }]));
  state.replicator.next();
  state.replicator.acknowledge(1, { version: 6 });
  state.replicator.receive(byBen(7, [4, " and theirs"]));
  expect(state.isStored).toBe(false);
  handOver(state);
  expect(state.view).toEqual({ text: "mine and theirs" });
  expect(state.replicator.next()).toBe(null);
  expect(state.replicator.flight.pending).toBe(0);
});

describe("more than one edit takes", () => {
  const names = Array.from({ length: 1_001 }, (_, at) => `field${at}`);
  const record = { replica: new Replica({}, 5).toJSON(), epoch: 1, edits: 0, flying: 0 };
  const stored = () => ({ ...record, conflicts: [], role: "editor" }) as unknown as Json;
  const writeAll = (state: DocumentState) =>
    state.edited(() => {
      for (const name of names) state.replicator.edit([{ op: "add", path: `/${name}`, value: 1 }]);
    });

  test("is handed over by a tab that could not store it", async () => {
    const state = following(stored);
    await takeOver(state, leads);
    writeAll(state);
    handOver(state);
    expect(Object.keys(state.view ?? {})).toHaveLength(1_001);
    expect(state.replicator.flight.pending).toBe(1);
    expect(state.replicator.next()?.patch).toHaveLength(1_000);
  });

  test("is brought in by a tab that takes the lead", async () => {
    const state = following(stored);
    state.replicator.replace(new Replica({}, 5).toJSON());
    writeAll(state);
    await takeOver(state, leads);
    expect(Object.keys(state.view ?? {})).toHaveLength(1_001);
    expect(state.replicator.flight.pending).toBe(1_001);
  });
});
