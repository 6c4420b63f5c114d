/** What a replicator makes of the server's answers when its record isn't what the server had of it last. */

import type { Json, Patch, Strategies } from "@collab/client";
import { describe, expect, test } from "vitest";
import type { Unresolved } from "../../src/documents/conflicts.js";
import { type Refusal, Replicator, type SavedReplicator } from "../../src/documents/replicator.js";
import { GapError } from "../../src/kernel/index.js";
import type { Change, WireConflict } from "../../src/wire.js";

const RECORD: SavedReplicator = {
  replica: { document: { text: "" }, version: 10, seqNext: 5, inFlight: null, buffer: [] },
  clientId: "ann",
  epoch: 1,
  edits: 0,
  flying: 0,
};

const write = (text: string, path = "/text"): Patch => [{ op: "text", path, value: [text] }];

/** Ann's client, as its record has it. */
function restored(
  record = RECORD,
  strategies: Strategies = {},
  refused: Refusal[] = [],
  told: Unresolved[] = [],
): Replicator {
  const events = {
    onView: () => {},
    onConflicts: (found: readonly Unresolved[]) => void told.push(...found),
    onRefused: (error: Refusal) => void refused.push(error),
  };
  const replicator = new Replicator(() => "ann", strategies, events);
  replicator.restore(structuredClone(record));
  return replicator;
}

/** What somebody else's client made of the record's version. */
const by = (author: string, operations: Patch): Change => ({
  client_id: author,
  user_id: author,
  timestamp: 1,
  version: 11,
  operations,
});

/** What Ann's client sent after the record was written, under the numbers from 5 on. */
const sent = (texts: string[]): Change[] =>
  texts.map((text, at) => {
    const author = { client_id: "ann", user_id: "ann", timestamp: 1 };
    return { ...author, version: 11 + at, seq: 5 + at, operations: write(text) };
  });

const view = (replicator: Replicator): Json => replicator.replica?.view ?? null;

test("an edit upon an old record isn't taken for what was sent under its seq since", () => {
  const replicator = restored();
  replicator.edit(write("new "));
  replicator.resume({ version: 12, epoch: 1, changes: sent(["b", "a"]), seq_last: 6 });
  expect(view(replicator)).toEqual({ text: "abnew " });
  expect(replicator.flight.pending).toBe(1);
  expect(replicator.next()).toMatchObject({ seq: 7, baseVersion: 10, patch: write("new ") });
});

test("nor where a state stands for what was sent", () => {
  const replicator = restored();
  replicator.edit(write("new "));
  replicator.resume({ version: 1_200, epoch: 1, state: { text: "ab" }, seq_last: 6 });
  expect(view(replicator)).toEqual({ text: "abnew " });
  expect(replicator.next()).toMatchObject({ seq: 7 });
});

test("nor where the server doesn't say which numbers it knows", () => {
  const replicator = restored();
  replicator.edit(write("new "));
  replicator.resume({ version: 12, epoch: 1, changes: sent(["b", "a"]) });
  expect(replicator.next()).toMatchObject({ seq: 7, patch: write("new ") });
});

test("an edit under another seq can be undone as before", () => {
  const replicator = restored();
  replicator.edit(write("new "));
  replicator.resume({ version: 10, epoch: 1, changes: [], seq_last: 6 });
  replicator.takeBack("undo");
  expect(view(replicator)).toEqual({ text: "" });
});

test("an edit that the record has, and that was sent although that could not be stored, is there once", () => {
  const first = restored();
  first.edit(write("kept"));
  const replicator = restored(first.save() as SavedReplicator);
  replicator.resume({ version: 11, epoch: 1, changes: sent(["kept"]), seq_last: 5 });
  expect(view(replicator)).toEqual({ text: "kept" });
  expect(replicator.flight.pending).toBe(0);
});

test("what waited in the record behind what was in flight, and was sent since, is there once", () => {
  const first = restored();
  first.edit(write("a"));
  first.next();
  first.edit([{ op: "text", path: "/text", value: [1, "b"] }]);
  const replicator = restored(first.save() as SavedReplicator);
  const [a, b] = sent(["a", "b"]) as [Change, Change];
  const changes = [a, { ...b, operations: [{ op: "text" as const, path: "/text", value: [1, "b"] }] }];
  replicator.resume({ version: 12, epoch: 1, changes, seq_last: 6 });
  expect(view(replicator)).toEqual({ text: "ab" });
  expect(replicator.flight.pending).toBe(0);
  expect(replicator.next()).toBeNull();
});

test("a submission that the record has in flight is done where a state stands for it", () => {
  const first = restored();
  first.edit(write("sent"));
  first.next();
  const replicator = restored(first.save() as SavedReplicator);
  replicator.resume({ version: 1_200, epoch: 1, state: { text: "sent" }, seq_last: 5 });
  expect(view(replicator)).toEqual({ text: "sent" });
  expect(replicator.flight.pending).toBe(0);
});

test("a submission that had arrived is there once, however far the state is ahead", () => {
  const replicator = restored(RECORD, { "/text": "text" });
  replicator.edit(write("sent"));
  replicator.next();
  replicator.edit([{ op: "text", path: "/text", value: [4, " later"] }]);
  replicator.resume({ version: 20_000, epoch: 1, state: { text: "sent by Ann" }, seq_last: 5 });
  expect(view(replicator)).toEqual({ text: "sent by Ann later" });
  expect(replicator.flight.pending).toBe(1);
});

test("changes of a document that isn't known make none", () => {
  const events = { onView: () => {}, onConflicts: () => {}, onRefused: () => {} };
  const replicator = new Replicator(() => "ann", {}, events);
  expect(() => replicator.resume({ version: 6, epoch: 1, changes: [] })).toThrow(GapError);
  expect(replicator.replica).toBeNull();
});

test("a record of another name of this client is merged: what was sent under that name may have arrived", () => {
  const first = restored();
  first.edit(write("sent"));
  first.next();
  const events = { onView: () => {}, onConflicts: () => {}, onRefused: () => {} };
  const renamed = new Replicator(() => "ann's other", {}, events);
  renamed.restore(first.save() as SavedReplicator);
  renamed.resume({ version: 11, epoch: 1, state: { text: "sent" }, seq_last: 0 });
  expect(view(renamed)).toEqual({ text: "sent" });
  expect(renamed.flight.pending).toBe(0);
});

test("what was made offline is undone step by step where there is nothing still, and as a whole where there is", () => {
  const made = () => {
    const nothing = { ...RECORD, replica: { ...RECORD.replica, document: null, version: 0 } };
    const replicator = restored(nothing);
    replicator.begin();
    replicator.edit([{ op: "add", path: "", value: { title: "" } }]);
    replicator.edit([{ op: "replace", path: "/title", value: "Lunch" }]);
    return replicator;
  };
  const alone = made();
  alone.resume({ version: 0, epoch: 3, state: null });
  expect(view(alone)).toEqual({ title: "Lunch" });
  alone.takeBack("undo");
  expect(view(alone)).toEqual({ title: "" });
  expect(alone.epoch).toBe(3);
  const beside = made();
  beside.resume({ version: 1, epoch: 3, state: { title: "Walk" } });
  beside.takeBack("undo");
  expect(view(beside)).toEqual({ title: "Walk" });
});

describe("an array that only grows", () => {
  const tagged = (tags: string[]) => ({ tags, title: "Sync" });
  const record = (tags: string[]) => ({
    ...RECORD,
    replica: { ...RECORD.replica, document: tagged(tags) },
  });
  const another = (tags: string[]) => ({ version: 3, epoch: 2, state: tagged(tags) });

  test("may be put in another order by a merge", () => {
    const replicator = restored(record(["a", "b", "c"]), { "/tags": "grow" });
    replicator.edit([{ op: "replace", path: "/title", value: "Mine" }]);
    replicator.edit([{ op: "replace", path: "/tags", value: ["c", "a", "b"] }]);
    replicator.resume(another(["a", "b", "c"]));
    expect(view(replicator)).toEqual({ tags: ["c", "a", "b"], title: "Mine" });
    expect(replicator.epoch).toBe(2);
  });

  test("keeps what can't be taken out when states are merged, and that is told", () => {
    const before = restored(record(["a", "b"])); // whoever made it didn't know
    before.edit([{ op: "replace", path: "/tags", value: ["a"] }]);
    before.edit([{ op: "replace", path: "/title", value: "Mine" }]);
    const refused: Refusal[] = [];
    const replicator = restored(before.save() as SavedReplicator, { "/tags": "grow" }, refused);
    replicator.resume(another(["a", "b"]));
    expect(view(replicator)).toEqual({ tags: ["a", "b"], title: "Mine" });
    expect(refused).toMatchObject([{ code: "INVALID_OPERATION" }]);
    expect(replicator.next()?.patch).toMatchObject([{ path: "/title" }]);
  });
});

describe("what waits when others write in the same document", () => {
  const fields = { ...RECORD, replica: { ...RECORD.replica, document: { title: "", text: "", place: "" } } };
  const replace = (path: string, value: Json): Patch => [{ op: "replace", path, value }];

  test.each<[number, string, Patch, Patch]>([
    [10, "as its author saw it, in the same member", replace("/title", "a"), replace("/title", "b")],
    [10, "as its author saw it, of a text that is another now", write("a"), replace("/text", "b")],
    [10, "as its author saw it, of another document", replace("/title", "a"), replace("", { title: "b" })],
    [10, "as its author saw it, of a value that is written in", replace("/title", "a"), write("b", "/title")],
    [11, "upon that, elsewhere", replace("/title", "a"), replace("/place", "b")],
    [11, "upon that, elsewhere than a text", replace("/title", "a"), write("b")],
    [11, "upon that, of a text that both write in", write("a"), write("b")],
  ])("goes on version %i, %s", (version, _, mine, theirs) => {
    const replicator = restored(fields);
    replicator.edit(mine);
    replicator.receive(by("ben", theirs));
    expect(replicator.next()).toMatchObject({ baseVersion: version });
  });
});

describe("what waits when others delete the document", () => {
  const DELETION = by("ben", [{ op: "replace", path: "", value: null }]);
  const DROPPED: WireConflict = { index: 0, path: "/text", kind: "dropped", base: "", version: 11 };
  const missed = { version: 11, epoch: 1 };
  const asked = [{ kind: "merged", path: "", base: { text: "" }, mine: { text: "ab" }, theirs: null }];

  /** Ann typed two letters, of which the first is in flight. */
  function typing(told: Unresolved[]): Replicator {
    const replicator = restored(RECORD, {}, [], told);
    replicator.edit(write("a"));
    replicator.next();
    replicator.edit([{ op: "text", path: "/text", value: [1, "b"] }]);
    return replicator;
  }

  test.each<[string, (replicator: Replicator) => void]>([
    ["now", (replicator) => replicator.receive(DELETION)],
    ["while there was no connection", (it) => it.resume({ ...missed, changes: [DELETION] })],
    ["long ago, so that the state alone is told", (it) => it.resume({ ...missed, state: null })],
  ])("is told, with all that was there: %s", (_, happens) => {
    const told: Unresolved[] = [];
    const replicator = typing(told);
    happens(replicator);
    expect(view(replicator)).toBe(null);
    expect(told).toMatchObject(asked);
  });

  test.each([
    ["", (replicator: Replicator) => replicator],
    [
      ", also where the page is loaded anew meanwhile",
      (before: Replicator, told: Unresolved[]) => restored(before.save() as SavedReplicator, {}, [], told),
    ],
  ])("is told once, with what is in flight, of which the server tells as well%s", (_, goingOn) => {
    const told: Unresolved[] = [];
    const replicator = typing(told);
    replicator.receive(DELETION);
    goingOn(replicator, told).acknowledge(5, { version: 12, operations: [], conflicts: [DROPPED] });
    expect(told).toMatchObject(asked);
    expect(told).toHaveLength(1);
  });

  test("is told once where a state was told of it, and the base of what is in flight is too old", () => {
    const told: Unresolved[] = [];
    const replicator = typing(told);
    replicator.resume({ ...missed, state: null });
    expect(replicator.rebase()).toBe(true);
    expect(replicator.next()).toBe(null);
    expect(told).toHaveLength(1);
    expect(replicator.flight.pending).toBe(0);
  });

  test("is told with who did it and when, also where all of it is in flight", () => {
    const told: Unresolved[] = [];
    const replicator = restored(RECORD, {}, [], told);
    replicator.edit(write("a"));
    replicator.next();
    replicator.receive(DELETION);
    expect(told).toMatchObject([{ path: "", mine: { text: "a" }, userId: "ben", timestamp: 1, version: 11 }]);
    replicator.acknowledge(5, { version: 12, operations: [], conflicts: [DROPPED] });
    expect(told).toHaveLength(1);
  });

  test("isn't told where it came to nothing", () => {
    const told: Unresolved[] = [];
    const replicator = restored(RECORD, {}, [], told);
    replicator.edit(write("a"));
    replicator.edit([{ op: "text", path: "/text", value: [{ d: 1 }] }]);
    replicator.receive(DELETION);
    expect(told).toEqual([]);
  });

  test("leaves what the server tells of one's own deletion", () => {
    const told: Unresolved[] = [];
    const replicator = restored(RECORD, {}, [], told);
    replicator.edit(DELETION.operations);
    replicator.next();
    replicator.receive(by("ben", write("b")));
    const overwrote: WireConflict = { ...DROPPED, path: "", kind: "overwrote", theirs: { text: "b" } };
    replicator.acknowledge(5, { version: 12, conflicts: [overwrote] });
    expect(told).toMatchObject([{ kind: "overwrote", theirs: { text: "b" } }]);
  });
});

describe("what the server can't compare any more", () => {
  const replace = (path: string, value: Json): Patch => [{ op: "replace", path, value }];
  const fields = {
    ...RECORD,
    replica: { ...RECORD.replica, document: { title: "Old", place: "", list: ["a"] } },
  };
  const missed = { version: 11, epoch: 1 };
  const overwrote = { kind: "overwrote", path: "/title", base: "Old", mine: "Ann's", theirs: "Ben's" };

  /** Ann's first edit is in flight, the others wait. */
  function flying(told: Unresolved[], ...waiting: Patch[]): Replicator {
    const replicator = restored(fields, {}, [], told);
    replicator.edit(replace("/place", "here"));
    replicator.next();
    for (const patch of waiting) replicator.edit(patch);
    return replicator;
  }

  const THEIRS = by("ben", replace("/title", "Ben's"));

  test.each<[string, (replicator: Replicator) => void, object]>([
    ["now", (it) => it.receive(THEIRS), { userId: "ben", version: 11 }],
    [
      "while there was no connection",
      (it) => it.resume({ ...missed, changes: [THEIRS] }),
      { userId: "ben", version: 11 },
    ],
    [
      "long ago, so that the state alone is told",
      (it) => it.resume({ ...missed, state: { title: "Ben's", place: "", list: ["a"] } }),
      { userId: null },
    ],
    [
      "and the state has what was in flight",
      (it) =>
        it.resume({
          ...missed,
          state: { title: "Ben's", place: "here", list: ["a"] },
          acks: [{ seq: 5, version: 10 }],
        }),
      { userId: null },
    ],
  ])("is told of what it takes the place of: %s", (_, happens, by) => {
    const told: Unresolved[] = [];
    const replicator = flying(told, replace("/title", "Ann's"));
    happens(replicator);
    expect(told).toMatchObject([{ ...overwrote, ...by }]);
    expect(view(replicator)).toMatchObject({ title: "Ann's" });
  });

  test("is told once of many changes that were missed, and with the last of them", () => {
    const told: Unresolved[] = [];
    const replicator = flying(told, replace("/title", "Ann's"));
    const changes = ["Be", "Ben", "Ben's"].map((title, at) => ({
      ...by("ben", replace("/title", title)),
      version: 11 + at,
    }));
    replicator.resume({ version: 13, epoch: 1, changes });
    expect(told).toMatchObject([{ ...overwrote, version: 13 }]);
  });

  test.each<[string, Patch, Patch]>([
    ["elsewhere", replace("/title", "Ann's"), replace("/list/0", "b")],
    ["the same", replace("/title", "Ann's"), replace("/title", "Ann's")],
    ["in the same text by the character", write("a", "/title"), write("b", "/title")],
  ])("isn't told of what others write %s", (_, mine, theirs) => {
    const told: Unresolved[] = [];
    flying(told, mine).receive(by("ben", theirs));
    expect(told).toEqual([]);
  });

  test("is told as what was written last, of which nobody knows whose it is where a state came", () => {
    const told: Unresolved[] = [];
    const replicator = flying(told, replace("/title", "Ann's"));
    replicator.receive(THEIRS);
    replicator.resume({ version: 12, epoch: 1, state: { title: "Cy's", place: "", list: ["a"] } });
    expect(told.at(-1)).toMatchObject({ userId: null, timestamp: null, version: 12, theirs: "Cy's" });
  });

  test("is told as what was written last, also where that was another document", () => {
    const told: Unresolved[] = [];
    const replicator = flying(told, replace("/title", "Ann's"));
    replicator.receive(THEIRS);
    const other = replace("", { title: "Cy's", place: "", list: ["a"] });
    replicator.receive({ ...by("cy", other), version: 12 });
    expect(told.at(-1)).toMatchObject({ path: "/title", userId: "cy", version: 12, theirs: "Cy's" });
  });

  test("is told also where versions are missing, with what was edited until they came", () => {
    const told: Unresolved[] = [];
    const replicator = flying(told, replace("/title", "Ann's"));
    const theirs = (version: number, path: string) => ({ ...by("ben", replace(path, "Ben's")), version });
    const changes = [theirs(11, "/title"), theirs(13, "/list/0")];
    expect(() => replicator.resume({ version: 13, epoch: 1, changes })).toThrow(GapError);
    replicator.edit(replace("/list/0", "Ann's"));
    replicator.resume({ version: 12, epoch: 1, changes: [theirs(12, "/list/0")] });
    const list = { path: "/list", base: ["a"], mine: ["Ann's"], theirs: ["Ben's"] };
    expect(told).toMatchObject([overwrote, { ...overwrote, ...list }]);
  });

  test("is told of what the state took the place of, also where its base is too old and more was edited since", () => {
    const told: Unresolved[] = [];
    const replicator = restored(fields, {}, [], told);
    replicator.edit(replace("/title", "Ann's"));
    replicator.next();
    replicator.resume({ ...missed, state: { title: "Ben's", place: "", list: ["a"] } });
    replicator.edit(replace("/place", "there"));
    expect(told).toEqual([]); // the server would tell
    expect(replicator.rebase()).toBe(true);
    expect(told).toMatchObject([overwrote]);
    expect(replicator.next()).toMatchObject({ baseVersion: 11, patch: replace("/title", "Ann's") });
  });
});
