/** What a document does with the server's answers, the other end played by the test. */

import {
  type Client,
  createClient,
  EditError,
  type Json,
  memoryStore,
  type Patch,
  type Problem,
  type SharedDocument,
  type Store,
} from "@collab/client";
import { Replica, type SavedReplica } from "@collab/client/kernel";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FakePlatform } from "../support/fake.js";
import type { Event } from "../support/people.js";

const ID = { resource_type: "event", resource_id: "1" };

let platform: FakePlatform;
let client: Client;
let document: SharedDocument<Event>;
let problems: Problem[];

beforeEach(async () => {
  vi.useFakeTimers();
  platform = new FakePlatform();
  problems = [];
});
afterEach(async () => {
  await client.close();
  vi.useRealTimers();
});

const settle = () => vi.advanceTimersByTimeAsync(0);
const tell = (type: string, payload: object = {}) => platform.socket.tell(type, { ...ID, ...payload });
const ops = () => platform.socket.sent.filter((message) => message.type === "OP");
const op = () => ops().at(-1);

/** A document that is online with a state. */
async function start(state: Json = { title: "Sync" }, options: object = {}, store: Store = memoryStore()) {
  client = createClient({
    url: "ws://gateway/realtime",
    getToken: () => "token",
    store,
    environment: platform.environment(),
  });
  client.onProblem((problem) => problems.push(problem));
  document = client.open<Event>("event", "1", options);
  await settle();
  platform.socket.admit();
  await settle();
  tell("SUBSCRIBE_ACK", { resource: "event", version: 5, epoch: 1, role: "editor", state });
  await settle();
}

/** The connection is lost and comes back. */
async function reconnect(answer: object): Promise<void> {
  platform.socket.end(1006);
  platform.network.tell();
  await settle();
  platform.socket.admit();
  await settle();
  tell("SUBSCRIBE_ACK", { resource: "event", epoch: 1, role: "editor", ...answer });
  await settle();
}

test("an edit goes with its base, its seq and the epoch, and the rest waits for its answer", async () => {
  await start();
  document.set("/title", "One");
  document.set("/location", "Room 1");
  document.set("/location", "Room 2");
  await settle();
  expect(ops()).toHaveLength(1);
  expect(op()?.payload).toEqual({
    ...ID,
    operations: [{ op: "replace", path: "/title", value: "One" }],
    version: 5,
    client_id: client.clientId,
    seq: 1,
    epoch: 1,
  });
  tell("OP_ACK", { id: "op-1", version: 6 });
  await settle();
  expect(ops()).toHaveLength(2);
  expect(op()?.payload).toMatchObject({ version: 6, seq: 2 });
  expect(op()?.payload.operations).toEqual([{ op: "add", path: "/location", value: "Room 2" }]);
});

describe("a message that a document can't read", () => {
  test.each([
    ["OP_BROADCAST", { operations: 5 }],
    ["OP_BROADCAST", { version: 6, operations: [null] }],
    ["OP_ACK", { version: 6 }],
    ["PRESENCE_STATE", {}],
  ])("%s %o is told, and it begins anew a while later", async (type, payload) => {
    await start();
    document.set("/title", "Mine");
    await settle();
    tell(type, payload);
    expect(problems).toMatchObject([{ code: "ERROR", type: "event", id: "1", cause: expect.any(Error) }]);
    expect(document.snapshot.isLive).toBe(false);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(platform.socket.last("SUBSCRIBE")?.payload).not.toHaveProperty("version");
    const state = { title: "Theirs" };
    tell("SUBSCRIBE_ACK", { resource: "event", version: 6, epoch: 1, role: "editor", state });
    await settle();
    expect(op()?.payload).toMatchObject({ version: 5, seq: 1 });
    tell("OP_ACK", { id: "op-1", version: 7 });
    await document.saved();
    expect(document.snapshot).toMatchObject({ view: { title: "Mine" }, version: 7, isLive: true });
  });

  test("is nothing to the others", async () => {
    await start();
    const other = client.open<Event>("event", "2");
    await settle();
    const answer = { role: "editor", version: 1, epoch: 1, state: { title: "Other" } };
    platform.socket.tell("SUBSCRIBE_ACK", { ...ID, resource_id: "2", ...answer });
    tell("OP_BROADCAST", { version: 6, operations: [null] });
    expect(client.connection.snapshot.state).toBe("online");
    expect(other.snapshot.isLive).toBe(true);
  });
});

test("how many are there is told though none of them is listed", async () => {
  await start();
  tell("PRESENCE_STATE", { presences: [], count: 300 });
  expect(document.presence.snapshot).toEqual({ others: [], self: null, count: 300 });
});

describe("an edit that is made by whoever hears of a change", () => {
  /** Once, after the next change of the view. */
  const answer = (path: string, value: Json) => {
    const end = document.onChange(() => {
      end();
      document.set(path, value);
    });
  };
  const theirs = (version: number, at: number) => {
    const operation = { op: "text", path: "/description", value: at ? [at, "b"] : ["b"] };
    tell("OP_BROADCAST", { client_id: "b", version, operations: [operation] });
  };

  test("stands upon it", async () => {
    await start({ description: "a" });
    answer("/description", "bac");
    theirs(6, 0);
    await settle();
    expect(op()?.payload).toMatchObject({ version: 6, operations: [{ value: [2, "c"] }] });
    tell("OP_ACK", { id: "op-1", version: 7 });
    await document.saved();
    expect(document.snapshot).toMatchObject({ view: { description: "bac" }, pending: 0, version: 7 });
    expect(platform.socket.sent.filter(({ type }) => type === "SUBSCRIBE")).toHaveLength(1);
  });

  test("of what was committed of another edit goes after it, and isn't saved with it", async () => {
    await start();
    document.set("/title", "<b>One</b>");
    await settle();
    answer("/location", "Room 1");
    let isSaved = false;
    tell("OP_ACK", { id: "op-1", version: 6, operations: [{ op: "replace", path: "/title", value: "One" }] });
    void document.saved().then(() => {
      isSaved = true;
    });
    await settle();
    expect(op()?.payload).toMatchObject({ version: 6, seq: 2 });
    expect(ops()).toHaveLength(2);
    expect([isSaved, document.snapshot.pending]).toEqual([false, 1]);
    tell("OP_ACK", { id: "op-2", version: 7 });
    await settle();
    expect([isSaved, document.snapshot.pending]).toEqual([true, 0]);
  });

  test("of a state goes when that is here", async () => {
    await start();
    answer("/location", "Room 1");
    await reconnect({ version: 900, state: { title: "Later" }, seq_last: 7 });
    expect(op()?.payload).toMatchObject({ version: 900, seq: 8 });
    tell("OP_ACK", { id: "op-8", version: 901 });
    await document.saved();
    expect(document.snapshot).toMatchObject({ view: { title: "Later", location: "Room 1" }, pending: 0 });
  });

  test("of an edit that leaves goes after that", async () => {
    await start();
    document.set("/title", "One");
    await settle();
    answer("/location", "Room 1");
    tell("ERROR", { code: "INVALID_OPERATION", message: "no", ref: "op-1" });
    await settle();
    expect(document.snapshot).toMatchObject({ view: { title: "Sync", location: "Room 1" }, pending: 1 });
    tell("OP_ACK", { id: op()?.id, version: 6 });
    expect(document.snapshot.pending).toBe(0);
  });

  test("of one's own goes with it", async () => {
    await start();
    answer("/location", "Room 1");
    document.set("/title", "One");
    await settle();
    expect(op()?.payload.operations).toHaveLength(2);
    tell("OP_ACK", { id: op()?.id, version: 6 });
    expect(document.snapshot.pending).toBe(0);
  });
});

describe("presence", () => {
  test("is told as gone where the cursor went while a subscription was on its way", async () => {
    await start();
    document.presence.setCursor({ field: "title", position: 1 });
    await settle();
    const later = [{ op: "replace", path: "/title", value: "Later" }];
    tell("OP_BROADCAST", { client_id: "b", user_id: "ben", version: 8, operations: later });
    expect(document.snapshot.isLive).toBe(false);
    document.presence.setCursor(null);
    await vi.advanceTimersByTimeAsync(1_000);
    tell("SUBSCRIBE_ACK", {
      resource: "event",
      version: 8,
      epoch: 1,
      role: "editor",
      state: { title: "Later" },
    });
    await settle();
    expect(platform.socket.last("PRESENCE_UPDATE")?.payload).toMatchObject({ cursor: { field: "" } });
  });

  test.each([
    [false, []],
    [true, []],
    [false, ["subscribe_many"]],
    [true, ["subscribe_many"]],
  ])("visible: %s, wished before SUBSCRIBE is answered, is told after it (%s)", async (wished, features) => {
    await start();
    client.open("event", "2");
    client.setVisible(!wished);
    await settle();
    platform.socket.end(1006);
    platform.network.tell();
    await settle();
    platform.socket.admit({ features });
    await settle();
    expect(platform.socket.last("SUBSCRIBE")?.payload.visible).toBe(!wished);
    client.setVisible(wished);
    await settle();
    tell("SUBSCRIBE_ACK", { resource: "event", epoch: 1, role: "editor", version: 5, changes: [] });
    await settle();
    expect(platform.socket.last("PRESENCE_UPDATE")?.payload).toMatchObject({ visible: wished });
  });

  const presence = (name: string, field: string) => ({
    ...{ user_id: name, client_id: name, session_id: name, user: { id: name, name }, is_typing: false },
    cursor: { field, position: 1, version: 5 },
  });

  test("of somebody in a field that nobody can read shows all who are here, and oneself there", async () => {
    await start({ "x~y": "text", title: "Sync" });
    const fields = ["~", "x~y", "/x~y", "\ud800", "title"];
    tell("PRESENCE_STATE", { presences: fields.map((field, at) => presence(`user ${at}`, field)) });
    expect(document.presence.snapshot.others.map(({ cursor }) => cursor.field)).toEqual(fields);
    for (const field of fields) document.presence.setCursor({ field, position: 1 });
    tell("OP_BROADCAST", { client_id: "b", version: 6, operation: { op: "remove", path: "/x~0y" } });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(platform.socket.last("PRESENCE_UPDATE")?.payload).toMatchObject({ cursor: { field: "title" } });
  });

  test("says nothing on a new connection of a cursor that went before", async () => {
    await start();
    document.presence.setCursor({ field: "title", position: 1 });
    document.presence.setCursor(null);
    await vi.advanceTimersByTimeAsync(1_000);
    await reconnect({ version: 5, changes: [] });
    expect(platform.socket.last("PRESENCE_UPDATE")).toBeUndefined();
  });

  test("says again and again that somebody types, and once that they don't", async () => {
    await start({ description: "" });
    const told = () =>
      platform.socket.sent
        .filter(({ type }) => type === "PRESENCE_UPDATE")
        .map(({ payload }) => payload.is_typing);
    for (let second = 0; second < 12; second++) {
      document.setText("/description", `${document.snapshot.view?.description}a`);
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(told()).toEqual([true, true, true]);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(told()).toEqual([true, true, true, false]);
  });

  test("doesn't say that somebody types where an application edits a text by itself", async () => {
    await start({ description: "a\r\nb" });
    document.edit({ op: "text", path: "/description", value: [1, { d: 1 }] }, false);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(ops()).toHaveLength(1);
    expect(platform.socket.last("PRESENCE_UPDATE")).toBeUndefined();
  });
});

describe("a document that is closed", () => {
  const EVENT = { resource_type: "event", resource_id: "2", resource: "event" };
  const unsubscribed = () => platform.socket.sent.filter(({ type }) => type === "UNSUBSCRIBE").length;

  test("before its subscription was answered is unsubscribed from all the same", async () => {
    await start();
    const other = client.open("event", "2");
    await settle();
    expect(platform.socket.last("SUBSCRIBE")?.payload).toMatchObject({ resource_id: "2" });
    other.close();
    await settle();
    expect(platform.socket.last("UNSUBSCRIBE")?.payload).toMatchObject({ resource_id: "2" });
  });

  test("after its subscription was refused isn't", async () => {
    await start();
    const other = client.open("event", "2");
    await settle();
    const ref = platform.socket.last("SUBSCRIBE")?.id;
    platform.socket.tell("ERROR", { ...EVENT, ref, code: "FORBIDDEN", message: "no" });
    expect(other.snapshot.status).toBe("forbidden");
    other.close();
    await settle();
    expect(unsubscribed()).toBe(0);
  });

  test("leaves the answer to its subscription to none that is opened after it", async () => {
    const values = new Map<string, Json>();
    const inner = memoryStore(values);
    let open = () => {};
    let gate = Promise.resolve();
    await start({ title: "Sync" }, {}, { ...inner, read: (key) => gate.then(() => inner.read(key)) });
    platform.socket.end(1006);
    platform.network.tell();
    await settle();
    platform.socket.admit();
    await settle();
    gate = new Promise((resolve) => {
      open = resolve;
    });
    document.close();
    await settle();
    document = client.open<Event>("event", "1");
    const operations = [{ op: "replace", path: "/title", value: "Later" }];
    const changes = [{ version: 6, client_id: "b", user_id: "ben", op_id: "x", timestamp: 1, operations }];
    const answer = { resource: "event", epoch: 1, role: "editor", version: 6, changes };
    tell("SUBSCRIBE_ACK", answer);
    await settle();
    expect(document.snapshot).toMatchObject({ status: "loading", isDeleted: false });
    open();
    await settle();
    expect(document.snapshot).toMatchObject({ view: { title: "Sync" }, version: 5 });
    tell("SUBSCRIBE_ACK", answer);
    await settle();
    expect(document.snapshot).toMatchObject({ view: { title: "Later" }, isLive: true });
  });

  test("before it was subscribed isn't", async () => {
    await start();
    client.open("event", "2").close();
    await settle();
    expect(platform.socket.last("SUBSCRIBE")?.payload).toMatchObject({ resource_id: "1" });
    expect(unsubscribed()).toBe(0);
  });
});

test("an edit that others left nothing of has nothing to send, and counts as saved", async () => {
  await start({ description: "a" });
  document.set("/title", "One");
  await settle();
  document.setText("/description", "ab");
  const saved = document.saved();
  tell("OP_BROADCAST", { client_id: "b", version: 6, operation: { op: "remove", path: "/description" } });
  tell("OP_ACK", { id: "op-1", version: 7 });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(ops()).toHaveLength(1);
  expect(document.snapshot).toMatchObject({ pending: 0, view: { title: "One" } });
  await saved;
});

test("an edit whose test fails before it is sent is told, and isn't saved", async () => {
  await start();
  document.set("/location", "Room 1");
  await settle();
  const edit: Patch = [
    { op: "test", path: "/title", value: "Sync" },
    { op: "replace", path: "/title", value: "Mine" },
  ];
  document.edit(edit);
  const saved = expect(document.saved()).rejects.toMatchObject({ code: "CONFLICT" });
  const operation = { op: "replace", path: "/title", value: "Theirs" };
  tell("OP_BROADCAST", { client_id: "b", version: 6, operation });
  tell("OP_ACK", { id: "op-1", version: 7 });
  await saved;
  expect(document.snapshot).toMatchObject({ pending: 0, view: { title: "Theirs", location: "Room 1" } });
  expect(problems).toMatchObject([
    { code: "EDIT_REFUSED", id: "1", operations: edit, refusal: { code: "CONFLICT" } },
  ]);
});

describe("after a connection was lost", () => {
  test("the same submission goes again, under the same seq", async () => {
    await start();
    document.set("/title", "One");
    await settle();
    const first = op()?.payload;
    await reconnect({ version: 5, changes: [] });
    expect(op()?.payload).toEqual(first);
    tell("OP_ACK", { id: "op-1", version: 6 });
    await document.saved();
    expect(document.snapshot).toMatchObject({ view: { title: "One" }, version: 6, pending: 0 });
  });

  test("one that is told to have arrived, not as what, is asked for among the changes", async () => {
    await start();
    document.set("/title", "<b>One</b>");
    await settle();
    await reconnect({ version: 5, changes: [] });
    tell("OP_ACK", { id: "op-1", version: 6, duplicate: true });
    await settle();
    expect(platform.socket.last("SUBSCRIBE")?.payload).toMatchObject({ version: 5 });
    const own = { client_id: client.clientId, user_id: "ann", op_id: "x", timestamp: 1, seq: 1 };
    const change = { ...own, version: 6, operations: [{ op: "replace", path: "/title", value: "One" }] };
    tell("SUBSCRIBE_ACK", { resource: "event", epoch: 1, role: "editor", version: 6, changes: [change] });
    await document.saved();
    expect(document.snapshot).toMatchObject({ view: { title: "One" }, version: 6, pending: 0 });
  });

  test("one that had arrived is recognised among the changes", async () => {
    await start();
    document.set("/title", "One");
    await settle();
    const own = { client_id: client.clientId, user_id: "ann", op_id: "x", timestamp: 1, seq: 1 };
    const change = { ...own, version: 6, operations: [{ op: "replace", path: "/title", value: "One" }] };
    await reconnect({ version: 6, changes: [change] });
    await document.saved();
    expect(ops()).toHaveLength(0);
    expect(document.snapshot).toMatchObject({ view: { title: "One" }, version: 6, pending: 0 });
  });

  test("one that had arrived is recognised by the newest seq, where a state came", async () => {
    await start();
    document.set("/title", "One");
    document.set("/location", "Room 1");
    await settle();
    await reconnect({ version: 900, state: { title: "Later" }, seq_last: 1 });
    expect(document.snapshot.view).toEqual({ title: "Later", location: "Room 1" });
    expect(op()?.payload).toMatchObject({ version: 900, seq: 2 });
    expect(op()?.payload.operations).toEqual([{ op: "add", path: "/location", value: "Room 1" }]);
  });

  test("what was edited offline is one patch against the base that its author saw", async () => {
    await start();
    client.disconnect();
    await settle();
    document.set("/title", "Mine");
    document.set("/location", "Room 1");
    client.connect();
    await settle();
    platform.socket.admit();
    await settle();
    const theirs = { version: 6, client_id: "b", user_id: "ben", op_id: "x", timestamp: 1 };
    const changes = [{ ...theirs, operations: [{ op: "replace", path: "/title", value: "Theirs" }] }];
    tell("SUBSCRIBE_ACK", { resource: "event", epoch: 1, role: "editor", version: 6, changes });
    await settle();
    expect(op()?.payload).toMatchObject({ version: 5, seq: 1 });
    expect(op()?.payload.operations).toHaveLength(2);
  });
});

test.each([
  ["that is no JSON", "{"],
  ["that is no object", "null"],
  ["without a payload", JSON.stringify({ type: "OP_BROADCAST" })],
])("a message %s is told, and what was in flight goes again over another connection", async (_, data) => {
  await start();
  document.set("/title", "Mine");
  await settle();
  expect(ops()).toHaveLength(1);
  platform.socket.onmessage?.({ data });
  expect(problems).toMatchObject([{ code: "ERROR", cause: expect.any(Error) }]);
  expect(client.connection.snapshot).toMatchObject({ state: "reconnecting", reason: "lost" });
  expect(platform.socket.isClosedByClient).toBe(true);
  await reconnect({ version: 5, changes: [] });
  expect(op()?.payload).toMatchObject({ version: 5, seq: 1 });
  tell("OP_ACK", { id: "op-1", version: 6 });
  await document.saved();
  expect(document.snapshot).toMatchObject({ view: { title: "Mine" }, version: 6, pending: 0 });
});

describe("a version that is missing", () => {
  test("is asked for", async () => {
    await start();
    const author = { client_id: "b", user_id: "ben" };
    tell("OP_BROADCAST", { ...author, version: 7, operation: { op: "add", path: "/tags", value: [] } });
    expect(platform.socket.last("SUBSCRIBE")?.payload).toMatchObject({ version: 5, epoch: 1 });
    expect(document.snapshot.isLive).toBe(false);
    const operations = [{ op: "replace", path: "/title", value: "Six" }];
    const six = { ...author, version: 6, operations };
    const seven = { ...author, version: 7, operations: [{ op: "add", path: "/tags", value: [] }] };
    tell("SUBSCRIBE_ACK", { resource: "event", epoch: 1, role: "editor", version: 7, changes: [six, seven] });
    expect(document.snapshot).toMatchObject({ view: { title: "Six", tags: [] }, version: 7, isLive: true });
  });

  test("that doesn't fit is replaced by the state", async () => {
    await start();
    tell("OP_BROADCAST", { client_id: "b", version: 6, operation: { op: "remove", path: "/nothing" } });
    expect(platform.socket.last("SUBSCRIBE")?.payload).not.toHaveProperty("version");
    tell("SUBSCRIBE_ACK", {
      resource: "event",
      epoch: 1,
      role: "editor",
      version: 6,
      state: { title: "New" },
    });
    expect(document.snapshot.view).toEqual({ title: "New" });
  });
});

describe("a reader that was too slow", () => {
  test("gets a state, with the answers that it replaces", async () => {
    await start();
    document.set("/title", "One");
    await settle();
    const acks = [{ id: "op-1", seq: 1, version: 40 }];
    tell("SYNC_RESPONSE", { current_version: 2_000, epoch: 1, state: { title: "Later" }, acks });
    await document.saved();
    expect(document.snapshot).toMatchObject({ view: { title: "Later" }, version: 2_000, pending: 0 });
  });

  test("is told what the edit that the state has took the place of", async () => {
    await start();
    document.set("/title", "One");
    await settle();
    const met = { index: 0, path: "/title", kind: "overwrote", base: "Sync", theirs: "Two", version: 39 };
    const acks = [
      { id: "op-0", version: 7, conflicts: [{ ...met, theirs: "Of another" }] },
      { id: "op-1", seq: 1, version: 40, conflicts: [{ ...met, user_id: "ben" }] },
    ];
    tell("SYNC_RESPONSE", { current_version: 2_000, epoch: 1, state: { title: "Later" }, acks });
    await document.saved();
    const told = {
      kind: "overwrote",
      path: "/title",
      mine: "One",
      theirs: "Two",
      userId: "ben",
      version: 39,
    };
    expect(document.snapshot).toMatchObject({ view: { title: "Later" }, version: 2_000, conflicts: [told] });
    document.resolve(document.snapshot.conflicts[0]?.id as string, "theirs");
    await settle();
    expect(op()?.payload).toMatchObject({ version: 2_000, operations: [{ path: "/title", value: "Two" }] });
  });

  test("isn't told a place in an array of which nobody knows where it is by now", async () => {
    await start({ items: [{ t: "A" }, { t: "B" }, { t: "C" }] } as never);
    document.set("/items/1/t", "Mine");
    await settle();
    const met = { index: 0, path: "/items/2/t", kind: "overwrote", base: "B", theirs: "Two", version: 39 };
    const acks = [{ id: "op-1", seq: 1, version: 40, conflicts: [met] }];
    const state = { items: [{ t: "X" }, { t: "A" }, { t: "Mine" }, { t: "C" }] };
    tell("SYNC_RESPONSE", { current_version: 2_000, epoch: 1, state, acks });
    await document.saved();
    expect(document.snapshot).toMatchObject({ view: state, conflicts: [{ theirs: "Two" }] });
    document.resolve(document.snapshot.conflicts[0]?.id as string, "theirs");
    await settle();
    expect(document.snapshot).toMatchObject({ view: state, conflicts: [{ problem: expect.any(String) }] });
  });

  test("asks for the changes while it has edits of its own to carry past them", async () => {
    await start();
    document.set("/title", "One");
    await settle();
    tell("SYNC_RESPONSE", { current_version: 60, epoch: 1, state: { title: "Later" }, acks: [] });
    expect(platform.socket.last("SUBSCRIBE")?.payload).toMatchObject({ version: 5, epoch: 1 });
    expect(document.snapshot.view).toEqual({ title: "One" });
  });

  test.each([60, 2_000, 10_100])(
    "makes no edit twice whose answer was lost, in a state at %i that doesn't say which it has",
    async (version) => {
      await start({ description: "hello" }, { strategies: { description: "text" } });
      document.setText("/description", "hello world");
      await settle();
      const unknown = { code: "UNAVAILABLE", message: "later", retry_after_ms: 3_000, outcome: "unknown" };
      tell("ERROR", { ...unknown, ref: "op-1" });
      const state = { description: "Oh hello world!" };
      tell("SYNC_RESPONSE", { current_version: version, epoch: 1, state });
      const answer = { resource: "event", version, epoch: 1, role: "editor", seq_last: 1, state };
      tell("SUBSCRIBE_ACK", answer);
      await vi.advanceTimersByTimeAsync(5_000);
      expect(document.snapshot).toMatchObject({ view: state, pending: 0 });
      expect(ops().every(({ payload }) => payload.seq === 1)).toBe(true);
    },
  );
});

describe("a refusal", () => {
  test.each(["RATE_LIMITED", "UNAVAILABLE"])("%s is heeded and tried again", async (code) => {
    await start();
    document.set("/title", "One");
    await settle();
    tell("ERROR", { code, message: "later", ref: "op-1", retry_after_ms: 3_000 });
    document.set("/location", "Room 1");
    await vi.advanceTimersByTimeAsync(2_900);
    expect(ops()).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(ops()).toHaveLength(2);
    expect(op()?.payload).toEqual(ops()[0]?.payload);
  });

  test.each([2 ** 40, -1, 0, "soon"])("is not tried again at once for a pause of %s", async (pause) => {
    await start();
    document.set("/title", "One");
    await settle();
    tell("ERROR", { code: "UNAVAILABLE", message: "later", ref: "op-1", retry_after_ms: pause });
    await vi.advanceTimersByTimeAsync(900);
    expect(ops()).toHaveLength(1);
  });

  /** What was edited offline goes, and what is bad is refused, as long as something waits: the paths of each patch. */
  async function judged(edit: () => void, isBad: (paths: string[]) => boolean): Promise<string[][]> {
    client.disconnect();
    await settle();
    edit();
    client.connect();
    await settle();
    platform.socket.admit();
    await settle();
    tell("SUBSCRIBE_ACK", { resource: "event", epoch: 1, role: "editor", version: 5, changes: [] });
    await settle();
    return judgedNow(isBad);
  }

  async function judgedNow(isBad: (paths: string[]) => boolean): Promise<string[][]> {
    const sent: string[][] = [];
    for (let version = 5; document.snapshot.pending; ) {
      const operations = op()?.payload.operations as { path: string }[];
      const paths = operations.map((operation) => operation.path);
      sent.push(paths);
      if (isBad(paths)) tell("ERROR", { code: "INVALID_OPERATION", message: "no date", ref: op()?.id });
      else tell("OP_ACK", { id: op()?.id, version: ++version });
      await vi.advanceTimersByTimeAsync(300); // pieces go as typing does: not all at once
    }
    return sent;
  }

  const hasDate = (paths: string[]) => paths.includes("/start_time");

  test("of one operation leaves the others of its patch", async () => {
    await start();
    const edit = () => {
      document.set("/title", "One");
      document.set("/start_time", "tomorrow");
      document.set("/location", "Room 1");
    };
    expect(await judged(edit, hasDate)).toEqual([
      ["/title", "/start_time", "/location"],
      ["/title", "/start_time"],
      ["/title"],
      ["/start_time"],
      ["/location"],
    ]);
    expect(document.snapshot.view).toEqual({ title: "One", location: "Room 1" });
    expect(problems).toMatchObject([{ code: "EDIT_REFUSED", refusal: { code: "INVALID_OPERATION" } }]);
    expect(problems[0]?.operations).toEqual([{ op: "add", path: "/start_time", value: "tomorrow" }]);
  });

  test("of one edit leaves the document that was made before it, and what came after", async () => {
    await start(null);
    const edit = () => {
      document.create({ title: "Mine" });
      document.set("/start_time", "tomorrow");
      document.edit([
        { op: "test", path: "/title", value: "Mine" },
        { op: "add", path: "/location", value: "Room 1" },
      ]);
    };
    await judged(edit, hasDate);
    expect(document.snapshot.view).toEqual({ title: "Mine", location: "Room 1" });
    expect(problems.map(({ operations }) => operations)).toEqual([
      [{ op: "add", path: "/start_time", value: "tomorrow" }],
    ]);
  });

  test("of a document that was made tells all that was written in it", async () => {
    await start(null);
    const edit = () => {
      document.create({ title: "Mine" });
      document.set("/location", "Room 1");
    };
    await judged(edit, (paths) => paths.includes(""));
    expect(document.snapshot.view).toBeNull();
    expect(problems.map(({ operations }) => operations)).toEqual([
      [
        { op: "add", path: "", value: { title: "Mine" } },
        { op: "add", path: "/location", value: "Room 1" },
      ],
    ]);
  });

  test("takes an edit apart nowhere, and lets the others go together again", async () => {
    await start();
    const edit = () => {
      document.set("/title", "");
      document.edit([
        { op: "add", path: "/start_time", value: "10:00" },
        { op: "add", path: "/end_time", value: "11:00" },
      ]);
      for (let each = 0; each < 6; each++) document.set(`/field${each}`, each);
    };
    const isBad = (paths: string[]) => paths.includes("/title") || paths.at(-1) === "/start_time";
    const sent = await judged(edit, isBad);
    expect(sent.map((paths) => paths.length)).toEqual([9, 5, 3, 1, 3, 4, 1]);
    expect(Object.keys(document.snapshot.view ?? {})).toHaveLength(9);
    expect(problems).toHaveLength(1);
  });

  test("of all edits takes few tries for each", async () => {
    await start();
    const edit = () => {
      for (let each = 0; each < 64; each++) document.set(`/field${each}`, each);
    };
    expect((await judged(edit, () => true)).length).toBeLessThan(3 * 64);
    expect(problems).toHaveLength(64);
  });

  test("of what another session had sent leaves the others as well", async () => {
    const values = new Map<string, Json>();
    await start({ title: "Sync" }, {}, memoryStore(values));
    client.disconnect();
    await settle();
    document.set("/title", "One");
    document.set("/start_time", "tomorrow");
    client.connect();
    await settle();
    platform.socket.admit();
    await settle();
    tell("SUBSCRIBE_ACK", { resource: "event", epoch: 1, role: "editor", version: 5, changes: [] });
    await settle();
    expect(op()?.payload.operations).toHaveLength(2);
    await client.close();
    client = createClient({
      url: "ws://gateway/realtime",
      getToken: () => "token",
      store: memoryStore(values),
      environment: platform.environment(),
    });
    document = client.open<Event>("event", "1");
    await settle();
    platform.socket.admit();
    await settle();
    tell("SUBSCRIBE_ACK", { resource: "event", epoch: 1, role: "editor", version: 5, changes: [] });
    await settle();
    await judgedNow(hasDate);
    expect(document.snapshot.view).toEqual({ title: "One" });
  });

  test("of one of the edits that another history was merged with leaves the others", async () => {
    await start();
    document.set("/title", "One");
    document.set("/start_time", "tomorrow");
    await reconnect({ epoch: 2, version: 5, state: { title: "Sync", location: "Room 1" } });
    await judgedNow(hasDate);
    expect(document.snapshot.view).toEqual({ title: "One", location: "Room 1" });
  });

  test("for meeting too many others sends it again on the head, as it stands there", async () => {
    await start({ description: "ac" });
    document.edit({ op: "text", path: "/description", value: [1, "b"] });
    await settle();
    const operations = [{ op: "text", path: "/description", value: ["0"] }];
    tell("OP_BROADCAST", { client_id: "b", version: 6, operations });
    tell("ERROR", { code: "CONFLICT", message: "too many others", ref: "op-1", version: 6, conflicts: [] });
    await settle();
    expect(op()?.payload).toMatchObject({ version: 6 });
    expect(op()?.payload.operations).toEqual([{ op: "text", path: "/description", value: [2, "b"] }]);
    expect(document.snapshot.view).toEqual({ description: "0abc" });
  });

  test("of a document that somebody else made meanwhile leaves theirs as it is", async () => {
    await start(null);
    document.create({ title: "Mine" });
    await settle();
    const operations = [{ op: "add", path: "", value: { title: "Theirs" } }];
    tell("OP_BROADCAST", { client_id: "b", version: 6, operations });
    tell("ERROR", {
      code: "CONFLICT",
      message: "made meanwhile",
      ref: "op-1",
      index: 0,
      path: "",
      version: 6,
    });
    await settle();
    expect(document.snapshot).toMatchObject({ view: { title: "Theirs" }, pending: 0 });
    expect(ops()).toHaveLength(1);
    expect(problems).toMatchObject([{ code: "EDIT_REFUSED" }]);
  });

  test("of a document that somebody else made meanwhile takes along what was made upon mine", async () => {
    await start(null);
    platform.socket.end(1006);
    document.create({ title: "Mine" });
    document.set("/location", "Room 1");
    const operations = [{ op: "add", path: "", value: { title: "Theirs" } }];
    await reconnect({ version: 6, changes: [{ client_id: "b", version: 6, operations }] });
    expect(op()?.payload).toMatchObject({ version: 5, operations: [{ path: "" }, { path: "/location" }] });
    const told = { code: "CONFLICT", message: "made meanwhile", index: 0, path: "", version: 6 };
    tell("ERROR", { ...told, ref: "op-1" });
    await settle();
    expect(document.snapshot).toMatchObject({ view: { title: "Theirs" }, pending: 0 });
    expect(ops()).toHaveLength(1);
    expect(problems).toMatchObject([{ code: "EDIT_REFUSED", operations: op()?.payload.operations }]);
  });

  test("for a test that failed leaves the edits beside it", async () => {
    await start({ title: "Sync", location: "Room 1" });
    document.edit([
      { op: "test", path: "/title", value: "Sync" },
      { op: "replace", path: "/title", value: "Mine" },
    ]);
    document.set("/location", "Room 2");
    await settle();
    const operations = [{ op: "replace", path: "/title", value: "Theirs" }];
    tell("OP_BROADCAST", { client_id: "b", version: 6, operations });
    const told = { code: "CONFLICT", message: "a test failed", index: 0, path: "/title", version: 6 };
    tell("ERROR", { ...told, ref: "op-1" });
    await settle();
    expect(document.snapshot.view).toEqual({ title: "Theirs", location: "Room 2" });
    expect(op()?.payload.operations).toEqual([{ op: "replace", path: "/location", value: "Room 2" }]);
    expect(problems).toMatchObject([{ code: "EDIT_REFUSED" }]);
  });

  test("for a base that is too old is answered by merging the states", async () => {
    await start({ title: "Sync", description: "cake" });
    document.setText("/description", "cake and tea");
    document.set("/location", "Room 1");
    await settle();
    await reconnect({ version: 9_000, state: { title: "Later", description: "Bring cake" } });
    tell("ERROR", { code: "VERSION_TOO_OLD", message: "merge", ref: "op-1" });
    await settle();
    expect(document.snapshot.view).toEqual({
      title: "Later",
      description: "Bring cake and tea",
      location: "Room 1",
    });
    expect(op()?.payload).toMatchObject({ version: 9_000 });
    tell("OP_ACK", { id: op()?.id, version: 9_001 });
    await document.saved();
  });

  test("for a base that is too old again, after it was brought to the present one, asks for the state", async () => {
    await start();
    document.set("/title", "One");
    await settle();
    await reconnect({ version: 9_000, state: { title: "Later" } });
    document.set("/location", "Room 1");
    tell("ERROR", { code: "VERSION_TOO_OLD", message: "merge", ref: "op-1" });
    await settle();
    expect(op()?.payload).toMatchObject({ version: 9_000, seq: 1 });
    const { length } = ops();
    tell("ERROR", { code: "VERSION_TOO_OLD", message: "another history", ref: "op-1" });
    await settle();
    expect(ops()).toHaveLength(length);
    expect(platform.socket.last("SUBSCRIBE")?.payload).not.toHaveProperty("version");
  });

  test("for a seq that belongs to something else gets another one", async () => {
    await start();
    document.set("/title", "One");
    await settle();
    tell("ERROR", { code: "SEQ_REUSED", message: "other content", ref: "op-1" });
    await settle();
    expect(op()).toMatchObject({ id: "op-2", payload: { seq: 2 } });
    tell("OP_ACK", { id: "op-2", version: 6 });
    await document.saved();
    expect(document.snapshot.view).toEqual({ title: "One" });
  });

  test("for a seq that belongs to something else keeps what can be undone", async () => {
    await start();
    document.set("/title", "One");
    await settle();
    tell("ERROR", { code: "SEQ_REUSED", message: "other content", ref: "op-1" });
    document.undo();
    expect(document.snapshot.view).toEqual({ title: "Sync" });
    expect(document.snapshot.canRedo).toBe(true);
  });

  test("for a seq that the server forgot is merged, and goes under one that it doesn't know", async () => {
    await start();
    document.set("/title", "One");
    await settle();
    tell("ERROR", { code: "SEQ_TOO_OLD", message: "resume", ref: "op-1", seq_last: 500 });
    await settle();
    expect(platform.socket.last("SUBSCRIBE")?.payload).not.toHaveProperty("version");
    const state = { title: "Sync", location: "Room 1" };
    tell("SUBSCRIBE_ACK", {
      resource: "event",
      epoch: 1,
      role: "editor",
      version: 600,
      state,
      seq_last: 500,
    });
    await settle();
    expect(document.snapshot).toMatchObject({ view: { title: "One", location: "Room 1" }, pending: 1 });
    expect(op()?.payload).toMatchObject({ version: 600, epoch: 1 });
    expect(op()?.payload.seq).toBeGreaterThan(500);
    tell("OP_ACK", { id: op()?.id, version: 601 });
    await document.saved();
  });

  test("for another epoch asks for the state", async () => {
    await start();
    document.set("/title", "One");
    await settle();
    tell("ERROR", { code: "VERSION_TOO_OLD", message: "another history", ref: "op-1" });
    await settle();
    expect(platform.socket.last("SUBSCRIBE")?.payload).not.toHaveProperty("version");
    tell("SUBSCRIBE_ACK", {
      resource: "event",
      epoch: 2,
      role: "editor",
      version: 1,
      state: { title: "Sync" },
    });
    await settle();
    expect(op()?.payload).toMatchObject({ version: 1, epoch: 2 });
    expect(document.snapshot.view).toEqual({ title: "One" });
  });
});

test("what was given up while it was stored isn't sent", async () => {
  const inner = memoryStore();
  let open = () => {};
  let gate = Promise.resolve();
  await start({ title: "Sync" }, {}, { ...inner, write: (changes) => gate.then(() => inner.write(changes)) });
  gate = new Promise((resolve) => {
    open = resolve;
  });
  document.set("/location", "Room 1");
  await settle();
  tell("OP_BROADCAST", { client_id: "b", version: 9, operations: [] }); // versions are missing
  const state = { title: "Later" };
  tell("SUBSCRIBE_ACK", { resource: "event", epoch: 2, role: "editor", version: 2, state });
  await settle();
  open();
  await settle();
  expect(ops().map(({ id, payload }) => [id, payload.version, payload.epoch])).toEqual([["op-2", 2, 2]]);
});

test("what was stored under another name asks for the state, and is merged with it", async () => {
  const values = new Map<string, Json>();
  await start({ title: "Sync" }, {}, memoryStore(values));
  document.set("/title", "One");
  await document.stored();
  await client.close();
  client = createClient({
    url: "ws://gateway/realtime",
    getToken: () => "token",
    store: memoryStore(values),
    environment: platform.environment(),
    clientId: "another",
  });
  document = client.open<Event>("event", "1");
  await settle();
  expect(document.snapshot.view).toEqual({ title: "One" });
  platform.socket.admit();
  await settle();
  expect(platform.socket.last("SUBSCRIBE")?.payload).not.toHaveProperty("version");
  const state = { title: "One" };
  tell("SUBSCRIBE_ACK", { resource: "event", version: 6, epoch: 1, role: "editor", state });
  await document.saved();
  expect(ops()).toEqual([]);
});

test("a seq that the server knows is not used again", async () => {
  client = createClient({
    url: "ws://gateway/realtime",
    getToken: () => "token",
    store: memoryStore(),
    environment: platform.environment(),
  });
  document = client.open<Event>("event", "1");
  await settle();
  platform.socket.admit();
  await settle();
  tell("SUBSCRIBE_ACK", { resource: "event", version: 5, epoch: 1, role: "editor", state: {}, seq_last: 41 });
  document.set("/title", "One");
  await settle();
  expect(op()?.payload.seq).toBe(42);
});

describe("who waits for a document", () => {
  test("that isn't loaded, or for its edits to arrive, is told that it was closed", async () => {
    await start();
    client.disconnect();
    document.set("/title", "Kept");
    const waiting = expect(document.saved()).rejects.toMatchObject({ code: "CLOSED" });
    const loading = client.open("event", "2").ready();
    await client.close();
    await Promise.all([waiting, loading]);
    await expect(document.saved()).rejects.toMatchObject({ code: "CLOSED" });
    expect(document.snapshot).toMatchObject({ status: "closed", pending: 1 });
  });

  test("that may not be seen any more is told so, whenever it asks", async () => {
    await start();
    document.set("/title", "One");
    const waiting = expect(document.saved()).rejects.toMatchObject({ code: "FORBIDDEN" });
    tell("ROLE_CHANGED", { role: null });
    await waiting;
    await expect(document.saved()).rejects.toMatchObject({ code: "FORBIDDEN" });
  });
});

describe("a role", () => {
  test("that becomes less ends editing, and at last seeing", async () => {
    await start();
    tell("ROLE_CHANGED", { role: "viewer" });
    expect(document.snapshot).toMatchObject({ role: "viewer", canEdit: false });
    expect(() => document.set("/title", "One")).toThrow("The token grants no edits");
    await expect(document.delete()).rejects.toMatchObject({ code: "FORBIDDEN" });
    tell("ROLE_CHANGED", { role: null });
    expect(document.snapshot).toMatchObject({ status: "forbidden", isLive: false });
  });

  test("that was refused is asked for alone, so that it is refused alone, and told once", async () => {
    await start();
    for (const id of ["2", "3"]) client.open("event", id);
    await settle();
    tell("ROLE_CHANGED", { resource_id: "2", role: null });
    const ref = platform.socket.last("SUBSCRIBE")?.id;
    tell("ERROR", { resource_id: "3", ref, code: "INVALID_MESSAGE", message: "no id" });
    platform.socket.end(1006);
    platform.network.tell();
    await settle();
    client.open("event", "4");
    await settle();
    platform.socket.admit({ features: ["subscribe_many"] });
    await settle();
    const asked = platform.socket.sent.filter(({ type }) => type === "SUBSCRIBE");
    const ids = (one: object) => (one as { resource_id: string }).resource_id;
    const together = asked.flatMap(
      ({ payload }) => (payload.resources as object[] | undefined)?.map(ids) ?? [],
    );
    expect(together).toEqual(["1", "4"]);
    const alone = asked.filter(({ payload }) => !payload.resources);
    expect(alone.map(({ payload }) => payload.resource_id)).toEqual(["2", "3"]);
    tell("ERROR", { resource_id: "3", ref: alone[1]?.id, code: "INVALID_MESSAGE", message: "no id" });
    expect(problems).toMatchObject([{ code: "ERROR", id: "3", refusal: { code: "INVALID_MESSAGE" } }]);
  });
});

test("so many documents that one message couldn't name them all are asked for in it and alone", async () => {
  await start();
  for (let id = 2; id <= 1_002; id++) client.open("event", `${id}`);
  await settle();
  platform.socket.end(1006);
  platform.network.tell();
  await settle();
  platform.socket.admit({ features: ["subscribe_many"] });
  await settle();
  const asked = platform.socket.sent.filter(({ type }) => type === "SUBSCRIBE");
  const together = asked.filter(({ payload }) => payload.resources);
  expect(together.map(({ payload }) => (payload.resources as object[]).length)).toEqual([1_000]);
  const alone = asked.filter(({ payload }) => !payload.resources);
  expect(alone.map(({ payload }) => payload.resource_id)).toEqual(["1001", "1002"]);
});

const CONFLICT = {
  index: 0,
  path: "/title",
  kind: "overwrote",
  base: "Sync",
  theirs: "Theirs",
  version: 6,
  user_id: "ben",
  timestamp: 7,
};

describe("a conflict that was committed", () => {
  async function conflict(): Promise<string> {
    await start();
    document.set("/title", "Mine");
    await settle();
    tell("OP_BROADCAST", {
      client_id: "b",
      version: 6,
      operations: [{ op: "replace", path: "/title", value: "Theirs" }],
    });
    tell("OP_ACK", { id: "op-1", version: 7, conflicts: [CONFLICT] });
    const [found] = document.snapshot.conflicts;
    expect(found).toMatchObject({
      id: found?.id,
      path: "/title",
      kind: "overwrote",
      base: "Sync",
      mine: "Mine",
      theirs: "Theirs",
      omitted: [],
      userId: "ben",
      version: 6,
      timestamp: 7,
    });
    return found?.id ?? "";
  }

  test.each([
    ["mine", "mine" as const, "Mine", 1],
    ["theirs", "theirs" as const, "Theirs", 2],
    ["a merge", { value: "Both" }, "Both", 2],
  ])("is resolved as %s", async (_name, resolution, title, edits) => {
    const id = await conflict();
    document.resolve(id, resolution);
    await settle();
    expect(document.snapshot.conflicts).toEqual([]);
    expect(document.snapshot.view?.title).toBe(title);
    expect(ops()).toHaveLength(edits);
  });

  test("comes back once where its resolution is refused, after other edits and before others", async () => {
    const id = await conflict();
    document.set("/start_time", "tomorrow");
    document.resolve(id, { value: "Both" });
    const refuse = async (ref: string) => {
      tell("ERROR", { code: "INVALID_OPERATION", message: "no", ref });
      await vi.advanceTimersByTimeAsync(1_000);
    };
    await refuse("op-2");
    expect(document.snapshot).toMatchObject({ view: { title: "Both" }, conflicts: [] });
    document.set("/end_time", "tomorrow");
    await refuse("op-3");
    await refuse("op-4");
    expect(document.snapshot).toMatchObject({ view: { title: "Mine" }, pending: 0, conflicts: [{ id }] });
    expect(document.snapshot.conflicts).toHaveLength(1);
    expect(problems).toHaveLength(3);
  });
});

test("a conflict stays resolved where its resolution, a list, is there after another edit was refused", async () => {
  await start({ title: "Sync", tags: ["a"] });
  document.set("/tags", ["mine"]);
  await settle();
  const theirs = [{ op: "replace", path: "/tags", value: ["theirs"] }];
  tell("OP_BROADCAST", { client_id: "b", version: 6, operations: theirs });
  const conflict = { ...CONFLICT, path: "/tags", base: ["a"], theirs: ["theirs"] };
  tell("OP_ACK", { id: "op-1", version: 7, conflicts: [conflict] });
  const [found] = document.snapshot.conflicts;
  document.set("/start_time", "tomorrow");
  document.resolve(found?.id ?? "", { value: ["both"] });
  await settle();
  tell("ERROR", { code: "INVALID_OPERATION", message: "no", ref: "op-2" });
  await settle();
  expect(document.snapshot).toMatchObject({ view: { tags: ["both"] }, conflicts: [] });
});

test("an edit that can't be made ends the burst before it", async () => {
  await start({ title: "Sync", description: "" });
  document.setText("/title", "Syncs");
  expect(() => document.edit({ op: "text", path: "/description", value: [9, "x"] })).toThrow(EditError);
  document.setText("/description", "x");
  document.undo();
  expect(document.snapshot.view).toEqual({ title: "Syncs", description: "" });
});

describe("a document that is made before its record was read", () => {
  test.each([
    ["with edits that wait, while its client starts", { location: "Room 1" }, 2],
    ["in a client that has started", {}, 1],
  ])("%s, stands upon that", async (_name, waiting: Event, pending) => {
    const values = new Map<string, Json>();
    await start({ title: "Sync" }, {}, memoryStore(values));
    client.disconnect();
    await settle();
    for (const [name, value] of Object.entries(waiting)) document.set(`/${name}`, value);
    await document.stored();
    await client.close();
    client = createClient({
      url: "ws://gateway/realtime",
      getToken: () => "token",
      store: memoryStore(values),
      environment: platform.environment(),
    });
    if (!values.has("queue/event:1")) await settle();
    document = client.open<Event>("event", "1");
    document.create({ description: "cake" });
    const all = { title: "Sync", ...waiting, description: "cake" };
    await document.stored();
    expect(document.snapshot).toMatchObject({ view: all, pending });
    await client.close();
    const record = values.get("doc/event:1") as unknown as { replica: SavedReplica };
    expect(Replica.from(record.replica).view).toEqual(all);
  });
});

describe("a conflict that is asked about", () => {
  async function asked(): Promise<string> {
    await start({ title: "Sync" }, { onConflict: "ask" });
    document.set("/title", "Mine");
    await settle();
    expect(op()?.payload.on_conflict).toBe("refuse");
    const theirs = [{ op: "replace", path: "/title", value: "Theirs" }];
    tell("OP_BROADCAST", { client_id: "b", version: 6, operations: theirs });
    tell("ERROR", { code: "CONFLICT", message: "seen?", ref: "op-1", conflicts: [CONFLICT], version: 6 });
    await vi.advanceTimersByTimeAsync(9_000);
    expect(ops()).toHaveLength(1); // it waits for the user
    expect(document.snapshot.conflicts).toMatchObject([{ kind: "refused", mine: "Mine", theirs: "Theirs" }]);
    return document.snapshot.conflicts[0]?.id ?? "";
  }

  test("mine goes again as it was, forced", async () => {
    const id = await asked();
    document.resolve(id, "mine");
    await settle();
    expect(op()?.payload).toMatchObject({ seq: 1, version: 5, force: true });
    expect(document.snapshot.view?.title).toBe("Mine");
  });

  test("and that is merged with another history is asked about no more", async () => {
    await asked();
    await reconnect({ epoch: 2, version: 2, state: { title: "Others" } });
    expect(document.snapshot.conflicts.map(({ kind }) => kind)).toEqual(["merged"]);
    expect(document.snapshot).toMatchObject({ view: { title: "Others" }, pending: 0 });
  });

  test("is asked about still when the connection comes back", async () => {
    const id = await asked();
    await reconnect({ version: 6, changes: [] });
    expect(document.snapshot.conflicts).toMatchObject([{ id, kind: "refused" }]);
    expect(ops()).toHaveLength(0);
  });

  test("theirs drops it", async () => {
    const id = await asked();
    document.resolve(id, "theirs");
    await settle();
    expect(document.snapshot).toMatchObject({ view: { title: "Theirs" }, pending: 0 });
    expect(ops()).toHaveLength(1);
  });

  test("theirs stays where mine was written further meanwhile", async () => {
    const id = await asked();
    document.set("/title", "Mine and more");
    document.resolve(id, "theirs");
    await settle();
    expect(op()?.payload).toMatchObject({ seq: 1, force: true });
    tell("OP_ACK", { id: "op-1", version: 7 });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(op()?.payload).toMatchObject({ seq: 2, version: 7 });
    expect(op()?.payload.operations).toEqual([{ op: "replace", path: "/title", value: "Theirs" }]);
    expect(document.snapshot).toMatchObject({ view: { title: "Theirs" }, conflicts: [] });
  });

  test("a merge is a new edit", async () => {
    const id = await asked();
    document.resolve(id, { value: "Both" });
    await settle();
    expect(document.snapshot.view?.title).toBe("Both");
    expect(op()?.payload).toMatchObject({ seq: 2, version: 6 });
    expect(op()?.payload).not.toHaveProperty("force");
  });
});

describe("what was edited offline, and is refused for one of its edits, while others wrote there too", () => {
  const theirs = (version: number, path: string, value: Json) => ({
    version,
    client_id: "b",
    user_id: "ben",
    op_id: "x",
    timestamp: 1,
    operations: [{ op: "replace", path, value }],
  });

  /** Ann edits offline, and is on the way back; what others wrote is told with the answer to her subscription. */
  async function comeBack(onConflict: "merge" | "ask", edit: () => void, store: Store = memoryStore()) {
    await start({ title: "Sync", start_time: "09:00", location: "Room 1" }, { onConflict }, store);
    platform.socket.end(1006);
    edit();
    const changes = [theirs(6, "/title", "Theirs"), theirs(7, "/start_time", "12:00")];
    await reconnect({ version: 7, changes });
  }
  const BEN = { userId: "ben", version: 6, timestamp: 1 };
  const editAll = () => {
    document.set("/title", "Mine");
    document.set("/end_time", "10:00");
    document.set("/location", "Room 2");
  };
  const refuse = async (message: string) => {
    tell("ERROR", { code: "INVALID_OPERATION", message, ref: op()?.id });
    await settle();
  };
  const written = () => ((op()?.payload.operations ?? []) as Patch).map(({ path }) => path);
  let version = 7;
  /** The server refuses what ends before it starts, and takes the rest. */
  async function judge(): Promise<string[][]> {
    const all: string[][] = [];
    for (version = 7; document.snapshot.pending; await vi.advanceTimersByTimeAsync(300)) {
      all.push(written());
      if (written().includes("/end_time")) await refuse("ends before it starts");
      else tell("OP_ACK", { id: op()?.id, version: ++version });
    }
    return all;
  }

  test("is told of what it takes the place of", async () => {
    await comeBack("merge", editAll);
    const sent = await judge();
    expect(sent).toEqual([
      ["/title", "/end_time", "/location"],
      ["/title", "/end_time"],
      ["/title"],
      ["/end_time"],
      ["/location"],
    ]);
    expect(document.snapshot.view).toEqual({ title: "Mine", start_time: "12:00", location: "Room 2" });
    expect(document.snapshot.conflicts).toMatchObject([
      { kind: "overwrote", path: "/title", base: "Sync", mine: "Mine", theirs: "Theirs", ...BEN },
    ]);
    expect(problems).toMatchObject([{ code: "EDIT_REFUSED" }]);
    document.resolve(document.snapshot.conflicts[0]?.id ?? "", "theirs");
    expect(document.snapshot).toMatchObject({ view: { title: "Theirs" }, conflicts: [] });
  });

  test.each([
    ["mine" as const, "Mine"],
    ["theirs" as const, "Theirs"],
  ])("asked, waits for the answer: %s", async (resolution, title) => {
    await comeBack("ask", editAll);
    await refuse("ends before it starts");
    await vi.advanceTimersByTimeAsync(9_000);
    expect(ops()).toHaveLength(1);
    const [found] = document.snapshot.conflicts;
    expect(found).toMatchObject({ kind: "refused", base: "Sync", mine: "Mine", theirs: "Theirs" });
    document.resolve(found?.id ?? "", resolution);
    await judge();
    const view = { title, start_time: "12:00", location: "Room 2" };
    expect(document.snapshot).toMatchObject({ view, conflicts: [] });
  });

  test("is told of as an undo too", async () => {
    await start({ title: "Sync", start_time: "09:00" });
    document.set("/title", "Mine");
    await settle();
    tell("OP_ACK", { id: "op-1", version: 6 });
    platform.socket.end(1006);
    document.undo();
    document.set("/end_time", "10:00");
    const changes = [theirs(7, "/title", "Theirs"), theirs(8, "/start_time", "12:00")];
    await reconnect({ version: 8, changes });
    await refuse("ends before it starts");
    expect(document.snapshot.conflicts).toMatchObject([
      { kind: "overwrote", path: "/title", base: "Mine", mine: "Sync", theirs: "Theirs" },
    ]);
  });

  test("is told of where another page had sent it, and what was written further since counts", async () => {
    const values = new Map<string, Json>();
    await comeBack("merge", editAll, memoryStore(values));
    document.set("/title", "Mine, and more");
    await document.stored();
    await client.close();
    client = createClient({
      url: "ws://gateway/realtime",
      getToken: () => "token",
      store: memoryStore(structuredClone(values)),
      environment: platform.environment(),
    });
    document = client.open<Event>("event", "1");
    await settle();
    platform.socket.admit();
    await settle();
    tell("SUBSCRIBE_ACK", { resource: "event", epoch: 1, role: "editor", version: 7, changes: [] });
    await settle();
    await refuse("ends before it starts");
    expect(document.snapshot.conflicts).toMatchObject([
      { kind: "overwrote", path: "/title", base: "Sync", mine: "Mine, and more", theirs: "Theirs" },
    ]);
  });

  test("isn't asked about again where the user has said so", async () => {
    await comeBack("ask", editAll);
    const conflicts = [{ ...CONFLICT, version: 6 }];
    tell("ERROR", { code: "CONFLICT", message: "seen?", ref: "op-1", conflicts, version: 7 });
    await settle();
    document.resolve(document.snapshot.conflicts[0]?.id ?? "", "mine");
    await settle();
    expect(op()?.payload).toMatchObject({ force: true });
    await judge();
    expect(document.snapshot).toMatchObject({ view: { title: "Mine" }, conflicts: [] });
  });

  test("goes again where to merge it takes a patch of more operations than a client may send", async () => {
    const notes = Array.from({ length: 600 }, (_, number) => ({ number }));
    await start({ title: "Sync", start_time: "09:00", notes });
    platform.socket.end(1006);
    document.edit([
      { op: "add", path: "/notes/0", value: { number: -1 } },
      { op: "add", path: "/notes/-", value: { number: 600 } },
    ]);
    document.set("/end_time", "10:00");
    await reconnect({
      version: 7,
      changes: [theirs(6, "/title", "Theirs"), theirs(7, "/start_time", "12:00")],
    });
    await refuse("ends before it starts");
    await judge();
    expect(document.snapshot).toMatchObject({ pending: 0, view: { title: "Theirs", start_time: "12:00" } });
    expect((document.snapshot.view as unknown as { notes: Json[] }).notes).toHaveLength(602);
  });

  test("isn't told of what the server refuses after all", async () => {
    await comeBack("merge", () => {
      document.set("/location", "Room 2");
      document.set("/start_time", "tomorrow");
    });
    await refuse("no date");
    expect(document.snapshot.conflicts).toMatchObject([{ path: "/start_time", mine: "tomorrow" }]);
    tell("OP_ACK", { id: op()?.id, version: 8 });
    await vi.advanceTimersByTimeAsync(300);
    await refuse("no date");
    expect(document.snapshot).toMatchObject({ view: { start_time: "12:00" }, conflicts: [], pending: 0 });
  });

  test("is told of where it met too many others", async () => {
    await comeBack("merge", () => document.set("/title", "Mine"));
    tell("ERROR", { code: "CONFLICT", message: "too many others", ref: op()?.id, version: 7 });
    await settle();
    expect(op()?.payload).toMatchObject({ version: 7 });
    expect(document.snapshot.conflicts).toMatchObject([{ kind: "overwrote", theirs: "Theirs" }]);
  });
});

test("over HTTP the same edits go out, and the same answers come", async () => {
  await start();
  platform.answer = (method, url, body) => {
    if (method === "GET" && url.searchParams.get("since") === "5") {
      const theirs = { version: 6, client_id: "b", user_id: "ben", op_id: "x", timestamp: 1 };
      const changes = [{ ...theirs, operations: [{ op: "add", path: "/location", value: "Room 1" }] }];
      return { status: 200, body: { version: 6, epoch: 1, changes } };
    }
    if (method === "POST") {
      expect(body).toMatchObject({ version: 5, seq: 1, client_id: client.clientId, epoch: 1 });
      return { status: 200, body: { ...ID, version: 7 } };
    }
    return { status: 304 };
  };
  platform.socket.end(4403, "killed");
  document.set("/title", "Mine");
  await vi.advanceTimersByTimeAsync(2_000);
  expect(client.connection.snapshot.state).toBe("polling");
  expect(document.snapshot).toMatchObject({
    view: { title: "Mine", location: "Room 1" },
    version: 7,
    pending: 0,
  });
});

describe("asked, what waits and what is in flight when others delete the document is one question", () => {
  const conflicts = [{ index: 0, path: "/title", kind: "dropped", base: "Sync", version: 6 }];
  const deleted = () => {
    const operations = [{ op: "replace", path: "", value: null }];
    tell("OP_BROADCAST", { client_id: "b", version: 6, operations });
  };
  const refused = () => tell("ERROR", { code: "CONFLICT", message: "", ref: "op-1", version: 6, conflicts });

  test.each([
    ["is told before the server refuses", [deleted, refused]],
    ["takes the place of what the server refused before", [refused, deleted]],
  ])("that %s", async (_, happens) => {
    await start({ title: "Sync" }, { onConflict: "ask" });
    document.set("/title", "Lunch");
    document.set("/location", "Room 1");
    await settle();
    for (const told of happens) told();
    await settle();
    const mine = { title: "Lunch", location: "Room 1" };
    expect(document.snapshot).toMatchObject({ view: null, pending: 0, conflicts: [{ path: "", mine }] });
    expect(document.snapshot.conflicts).toHaveLength(1);
    expect(ops()).toHaveLength(1);
  });
});

test("an edit that went twice, and was refused twice, is asked about and stays", async () => {
  const conflicts = [{ index: 0, path: "/title", kind: "overwrote", base: "Sync", theirs: "B", version: 6 }];
  await start({ title: "Sync" }, { onConflict: "ask" });
  document.set("/title", "Lunch");
  await settle();
  for (let times = 0; times < 2; times++)
    tell("ERROR", { code: "CONFLICT", message: "", ref: "op-1", version: 6, conflicts });
  await settle();
  const asked = [{ kind: "refused", mine: "Lunch", theirs: "B" }];
  expect(document.snapshot).toMatchObject({ view: { title: "Lunch" }, pending: 1, conflicts: asked });
  document.resolve(
    document.snapshot.conflicts.map(({ id }) => id),
    "mine",
  );
  await settle();
  expect(op()?.payload).toMatchObject({ seq: 1, force: true });
});

test("an edit that went twice stays where the user chose it between the two refusals", async () => {
  const conflicts = [{ index: 0, path: "/title", kind: "overwrote", base: "Sync", theirs: "B", version: 6 }];
  const refuse = () => tell("ERROR", { code: "CONFLICT", message: "", ref: "op-1", version: 6, conflicts });
  await start({ title: "Sync" }, { onConflict: "ask" });
  document.set("/title", "Lunch");
  await settle();
  refuse();
  document.resolve(document.snapshot.conflicts[0]?.id as string, "mine");
  await settle();
  refuse();
  await settle();
  expect(document.snapshot).toMatchObject({ view: { title: "Lunch" }, pending: 1 });
  expect(op()?.payload).toMatchObject({ seq: 1, force: true });
  tell("OP_BROADCAST", {
    client_id: "b",
    version: 6,
    operations: [{ op: "replace", path: "/title", value: "B" }],
  });
  tell("OP_ACK", { id: "op-1", version: 7 });
  await settle();
  expect(document.snapshot).toMatchObject({ view: { title: "Lunch" }, pending: 0, conflicts: [] });
  expect(problems).toEqual([]);
});

describe("what waits behind an edit on its way, as others write there again and again", () => {
  async function written(onConflict: "merge" | "ask") {
    await start({ title: "Sync" }, { onConflict });
    document.set("/location", "Room 1");
    await settle();
    document.set("/title", "Mine");
    ["Th", "Theirs"].forEach((value, at) => {
      const operations = [{ op: "replace", path: "/title", value }];
      tell("OP_BROADCAST", { client_id: "b", user_id: "ben", version: 6 + at, operations });
    });
    tell("OP_ACK", { id: "op-1", version: 8 });
    await settle();
    expect(document.snapshot.conflicts).toHaveLength(1);
    return document.snapshot.conflicts[0]?.id as string;
  }

  test("is told with what they wrote last", async () => {
    const id = await written("merge");
    const told = {
      kind: "overwrote",
      path: "/title",
      mine: "Mine",
      theirs: "Theirs",
      userId: "ben",
      version: 7,
    };
    expect(document.snapshot.conflicts).toMatchObject([told]);
    expect(op()?.payload).toMatchObject({ seq: 2, version: 8 });
    document.resolve(id, "theirs");
    expect(document.snapshot).toMatchObject({ view: { title: "Theirs" }, conflicts: [] });
  });

  test.each([
    ["mine" as const, "Mine", 2],
    ["theirs" as const, "Theirs", 1],
  ])("is asked about once: %s", async (resolution, title, sent) => {
    const id = await written("ask");
    expect(document.snapshot.conflicts).toMatchObject([{ kind: "refused", mine: "Mine", theirs: "Theirs" }]);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(ops()).toHaveLength(1);
    document.resolve(id, resolution);
    await settle();
    expect(ops()).toHaveLength(sent);
    expect(document.snapshot).toMatchObject({ view: { title, location: "Room 1" }, conflicts: [] });
  });
});

test("what the user is asked about when the page is loaded anew is asked again", async () => {
  const store = memoryStore();
  const conflicts = [{ index: 0, path: "/title", kind: "overwrote", base: "Sync", theirs: "B", version: 6 }];
  const refuse = async () => {
    await settle();
    tell("ERROR", { code: "CONFLICT", message: "", ref: "op-1", version: 6, conflicts });
    await settle();
  };
  await start({ title: "Sync" }, { onConflict: "ask" }, store);
  document.set("/title", "Lunch");
  await refuse();
  await client.close();
  await start({ title: "Sync" }, { onConflict: "ask" }, store);
  await refuse();
  expect(document.snapshot).toMatchObject({
    view: { title: "Lunch" },
    pending: 1,
    conflicts: [{ kind: "refused" }],
  });
});
