/** A store that fails for a while, with the clock in the test's hand. */

import { createClient, type Json, memoryStore, type Store, StoreFullError } from "@collab/client";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Keeper } from "../../src/store/keeper.js";
import { FakePlatform } from "../support/fake.js";
import { gate } from "../support/gate.js";
import { problemsOf } from "../support/problems.js";
import { filling } from "../support/stores.js";

const RETRY_MS = 30_000;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A client that isn't connected, and a document of it. */
function offline(store: Store, id = "1") {
  const client = createClient({
    url: "ws://gateway/realtime",
    getToken: () => "",
    store,
    environment: new FakePlatform().environment(),
    connect: false,
  });
  return { client, document: client.open("event", id) };
}

const settle = () => vi.advanceTimersByTimeAsync(0);

test("one edit that can't be stored is told as unsaved, and as stored when there is room again", async () => {
  const { room, store } = filling(memoryStore());
  const { client, document } = offline(store);
  await settle();
  document.create({ title: "Sync" });
  await document.stored();
  room.isFull = true;
  document.set("/title", "Unstored");
  await settle();
  expect(client.sync.snapshot).toMatchObject({ state: "unsaved", isStored: false });
  room.isFull = false;
  await vi.advanceTimersByTimeAsync(RETRY_MS);
  expect(document.snapshot.isStored).toBe(true);
  expect(client.sync.snapshot).toMatchObject({ state: "offline", isStored: true });
  await client.close();
});

test("a record that makes no sense is set aside, and that counts as stored, when there is room again", async () => {
  const broken = { replica: { document: {}, version: 1, buffer: [[["rem", ["x"]]]] } };
  const values = new Map<string, Json>([["doc/event:1", broken]]);
  const { room, store } = filling(memoryStore(values));
  room.isFull = true;
  const { client, document } = offline(store);
  await settle();
  expect(document.snapshot.isStored).toBe(false);
  room.isFull = false;
  await vi.advanceTimersByTimeAsync(RETRY_MS);
  expect(values.get("corrupt/event:1")).toEqual(broken);
  expect(values.has("doc/event:1")).toBe(false);
  expect(client.sync.snapshot).toMatchObject({ state: "offline", isStored: true });
  await client.close();
});

test("what could not be stored isn't written over the records of a tab that has the store by now", async () => {
  const values = new Map<string, Json>();
  const { room, store } = filling(memoryStore(values));
  const timers = { setTimeout, clearTimeout } as never;
  const keeper = new Keeper(store, timers, () => {});
  keeper.isOwner = true;
  room.isFull = true;
  expect(await keeper.save("doc", () => "old")).toBe(false);
  keeper.isOwner = room.isFull = false;
  values.set("doc", "new");
  await vi.advanceTimersByTimeAsync(RETRY_MS);
  expect(values.get("doc")).toBe("new");
  await keeper.own(async () => {});
  expect(await keeper.save("other", () => 1)).toBe(true);
  expect(values.get("doc")).toBe("new");
});

test("a client that was closed while its store was full writes nothing later", async () => {
  const values = new Map<string, Json>();
  const { room, store } = filling(memoryStore(values));
  const { client, document } = offline(store);
  await settle();
  document.create({ title: "Old" });
  await document.stored();
  room.isFull = true;
  document.set("/title", "Unstored");
  await client.close();
  room.isFull = false;
  const next = offline(store);
  await settle();
  next.document.set("/title", "New");
  await next.document.stored();
  await vi.advanceTimersByTimeAsync(RETRY_MS);
  expect(JSON.stringify(values.get("doc/event:1"))).toContain("New");
  await next.client.close();
});

test("what can't be read isn't written over by what was made while it was read", async () => {
  const values = new Map<string, Json>([["doc", "unread"]]);
  const { trouble, store } = troubled(values);
  const timers = { setTimeout, clearTimeout } as never;
  const keeper = new Keeper({ ...memoryStore(values), read: store.read }, timers, () => {});
  const reads = [() => keeper.load("doc"), () => keeper.unseal("client")];
  for (const read of reads) {
    let saved: Promise<boolean> | undefined;
    await keeper.own(async () => {
      const reading = read();
      saved = keeper.save("doc", () => "new");
      expect(await reading).toBe(null);
    });
    expect(await saved).toBe(false);
    expect(values.get("doc")).toBe("unread");
  }
  trouble.isOn = false;
});

test("what is read for a tab that has lost the store meanwhile is nothing to it", async () => {
  const { isReached, goOn, pass } = gate();
  const values = new Map<string, Json>([["doc", "record"]]);
  const inner = memoryStore(values);
  const store: Store = { ...inner, read: (key) => pass().then(() => inner.read(key)) };
  const keeper = new Keeper(store, { setTimeout, clearTimeout } as never, () => {});
  await keeper.own(async () => {});
  const reading = keeper.load("doc");
  await isReached;
  await keeper.disown();
  goOn();
  expect(await reading).toBe(undefined);
});

test("what is stored counts as such though another record can't be read meanwhile", async () => {
  const values = new Map<string, Json>();
  const { store } = troubled(values);
  const timers = { setTimeout, clearTimeout } as never;
  const keeper = new Keeper({ ...memoryStore(values), read: store.read }, timers, () => {});
  let saved: Promise<boolean> | undefined;
  await keeper.own(async () => {
    saved = keeper.save("other", () => "new");
    expect(await keeper.load("doc")).toBe(null);
  });
  expect(await saved).toBe(true);
  expect(values.get("other")).toBe("new");
});

test("nothing is written while the newest lead reads, though one before it has read by now", async () => {
  const values = new Map<string, Json>();
  const timers = { setTimeout, clearTimeout } as never;
  const keeper = new Keeper(memoryStore(values), timers, () => {});
  const ends: (() => void)[] = [];
  const reading = () => new Promise<void>((resolve) => ends.push(resolve));
  const leads = [keeper.own(reading), keeper.own(reading)];
  void keeper.save("doc", () => 1);
  ends[0]?.();
  await leads[0];
  await settle();
  expect(values.size).toBe(0);
  ends[1]?.();
  await leads[1];
  await settle();
  expect(values.get("doc")).toBe(1);
});

/** A store with an edit that was never sent. */
async function withEdit(): Promise<Map<string, Json>> {
  const values = new Map<string, Json>();
  const { client, document } = offline(memoryStore(values));
  await settle();
  document.create({ title: "Unsent" });
  await document.stored();
  await client.close();
  return values;
}

/** A store that does nothing while there is trouble. */
function troubled(values: Map<string, Json>) {
  const inner = memoryStore(values);
  const trouble = { isOn: true };
  const or =
    <A extends unknown[], R>(work: (...args: A) => Promise<R>) =>
    (...args: A) =>
      trouble.isOn ? Promise.reject(new Error("not now")) : work(...args);
  const store: Store = { ...inner, read: or(inner.read), keys: or(inner.keys), write: or(inner.write) };
  return { trouble, store };
}

test("what could not be read isn't deleted when the store recovers, but read", async () => {
  const values = await withEdit();
  const { trouble, store } = troubled(values);
  const { client, document } = offline(store);
  await settle();
  expect(document.snapshot.status).toBe("loading");
  trouble.isOn = false;
  await vi.advanceTimersByTimeAsync(RETRY_MS);
  expect(document.snapshot).toMatchObject({ status: "ready", view: { title: "Unsent" } });
  expect(client.sync.snapshot.pending).toBe(document.snapshot.pending);
  await client.close();
  expect(values.get("queue/event:1")).toBe(1);
});

test("a record that is read late stays though the server has told the document by then, and is told to the server", async () => {
  const values = await withEdit();
  const { trouble, store } = troubled(values);
  let isSlow = false;
  const { goOn, pass } = gate();
  const read = async (key: string) => {
    if (isSlow) await pass();
    return key === "client" ? values.get(key) : store.read(key); // whose store it is is known
  };
  const platform = new FakePlatform();
  const environment = platform.environment();
  const options = { url: "ws://gateway/realtime", getToken: () => "", environment };
  const client = createClient({ ...options, store: { ...store, read } });
  const document = client.open<{ title: string }>("event", "1");
  await settle();
  trouble.isOn = false;
  isSlow = true;
  platform.socket.admit();
  await settle();
  const subscribed = () => platform.socket.sent.filter(({ type }) => type === "SUBSCRIBE").length;
  expect(subscribed()).toBe(1);
  const told = { resource: "event", resource_type: "event", resource_id: "1", version: 7, epoch: 1 };
  platform.socket.tell("SUBSCRIBE_ACK", { ...told, role: "editor", state: { title: "Theirs" } });
  expect(document.snapshot).toMatchObject({ isLive: true, version: 7 });
  goOn();
  await vi.waitFor(() => expect(document.snapshot.pending).toBe(1), 100_000);
  expect(document.snapshot.version).toBeLessThan(7);
  await vi.waitFor(() => expect(subscribed()).toBe(2), 100_000);
  await client.close();
});

const ID = { resource: "event", resource_type: "event", resource_id: "1" };

describe("unsent edits in a record that can't be read", () => {
  const subscribed = (platform: FakePlatform) =>
    platform.socket.sent.filter(({ type }) => type === "SUBSCRIBE").length;

  /** A client whose document the server has told while its record could not be read. */
  async function told(store: Store) {
    const platform = new FakePlatform();
    platform.foreground.turn(false); // no PING, which nobody here would answer
    const environment = platform.environment();
    const client = createClient({ url: "ws://gateway/realtime", getToken: () => "", store, environment });
    const problems = problemsOf(client);
    const document = client.open<{ title: string }>("event", "1");
    await settle();
    platform.socket.admit();
    await settle();
    const state = { title: "Theirs" };
    platform.socket.tell("SUBSCRIBE_ACK", { ...ID, version: 7, epoch: 1, role: "editor", state });
    await settle();
    expect(document.snapshot).toMatchObject({ isLive: true, version: 7, view: state });
    return { platform, client, document, problems };
  }

  test("are there, and sent, when the store recovers after the server told the document", async () => {
    const values = await withEdit();
    const record = structuredClone(values.get("doc/event:1"));
    const { trouble, store } = troubled(values);
    const { platform, client, document } = await told(store);
    platform.socket.end(1006);
    document.set("/location", "Room 1");
    await expect(document.stored()).rejects.toBeInstanceOf(StoreFullError);
    trouble.isOn = false;
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    platform.socket.admit();
    await vi.waitFor(() => expect(subscribed(platform)).toBe(1), 100_000);
    expect(document.snapshot.view).toEqual({ title: "Unsent", location: "Room 1" });
    await document.stored();
    expect(values.get("queue/event:1")).toBe(1);
    expect(values.get("doc/event:1")).not.toEqual(record);
    await client.close();
  });

  test("are left alone by a store that takes what it is given, and read when it can be", async () => {
    const values = await withEdit();
    const inner = memoryStore(values);
    const record = structuredClone(values.get("doc/event:1"));
    let isReadable = false;
    const read = (key: string) =>
      isReadable || !key.startsWith("doc/") ? inner.read(key) : Promise.reject(new Error("not now"));
    const { platform, client, document, problems } = await told({ ...inner, read });
    await vi.advanceTimersByTimeAsync(2 * RETRY_MS);
    expect(values.get("doc/event:1")).toEqual(record);
    expect(values.get("queue/event:1")).toBe(1);
    expect(problems.map(({ code }) => code)).toEqual(["STORE_UNAVAILABLE"]); // once
    expect(subscribed(platform)).toBe(1);
    isReadable = true;
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    await vi.waitFor(() => expect(subscribed(platform)).toBe(2), 100_000);
    expect(document.snapshot).toMatchObject({ view: { title: "Unsent" }, pending: 1 });
    await client.close();
  });

  test("are looked for when what was sent has its answer: it is there once", async () => {
    const values = await withEdit();
    const inner = memoryStore(values);
    let isReadable = false;
    const read = (key: string) =>
      isReadable || !key.startsWith("doc/") ? inner.read(key) : Promise.reject(new Error("not now"));
    const { platform, client, document } = await told({ ...inner, read });
    document.setText("/title", "Theirs, mine");
    await settle();
    expect(platform.socket.last("OP")?.id).toBe("op-1");
    isReadable = true;
    await vi.advanceTimersByTimeAsync(2 * RETRY_MS);
    expect(subscribed(platform)).toBe(1);
    expect(document.snapshot.view).toEqual({ title: "Theirs, mine" });
    platform.socket.tell("OP_ACK", { ...ID, id: "op-1", version: 8 });
    await settle();
    await vi.waitFor(() => expect(subscribed(platform)).toBe(2), 100_000);
    expect(document.snapshot.pending).toBe(1);
    await client.close();
  });

  test("aren't looked for again before what was sent has its answer", async () => {
    const inner = memoryStore(await withEdit());
    const asked: string[] = [];
    let isReadable = false;
    const store: Store = {
      ...inner,
      read: (key) => {
        asked.push(`read ${key}`);
        return isReadable || key !== "doc/event:1" ? inner.read(key) : Promise.reject(new Error("not now"));
      },
      keys: (prefix) => {
        asked.push(`keys ${prefix}`);
        return inner.keys(prefix);
      },
      write: (changes) => {
        asked.push(`write ${[...changes.keys()]}`);
        return inner.write(changes);
      },
    };
    const { platform, client, document } = await told(store);
    document.setText("/title", "Theirs, mine");
    await settle();
    expect(platform.socket.last("OP")?.id).toBe("op-1");
    client.disconnect();
    isReadable = true;
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    expect(asked).toContain("read doc/event:1");
    asked.length = 0;
    await vi.advanceTimersByTimeAsync(4 * RETRY_MS);
    expect(asked).toEqual([]);
    await client.close();
  });

  test("may be there: what is made offline meanwhile counts as unsaved, until it is known that there are none", async () => {
    const values = new Map<string, Json>();
    const inner = memoryStore(values);
    let isReadable = false;
    const read = (key: string) => (isReadable ? inner.read(key) : Promise.reject(new Error("not now")));
    const { client, document } = offline({ ...inner, read });
    await settle();
    document.create({ title: "New" });
    await expect(document.stored()).rejects.toBeInstanceOf(StoreFullError);
    expect(client.sync.snapshot).toMatchObject({ state: "unsaved", isStored: false });
    isReadable = true;
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    expect(client.sync.snapshot).toMatchObject({ state: "offline", isStored: true });
    expect(JSON.stringify(values.get("doc/event:1"))).toContain("New");
    await client.close();
  });
});

describe("a store that can't tell whose it is", () => {
  /** A client of another name than the store's, until it has read that. */
  function renamed(store: Store, userId?: string, jitter = 0.7) {
    const platform = new FakePlatform();
    platform.foreground.turn(false); // no PING, which nobody here would answer
    platform.jitter = jitter;
    const options = {
      getToken: () => "",
      store,
      environment: platform.environment(),
      ...(userId && { userId }),
    };
    const client = createClient({ url: "ws://gateway/realtime", ...options });
    const problems = problemsOf(client);
    const name = () => platform.socket.last("AUTH")?.payload.client_id;
    return { platform, client, problems, name };
  }

  /** A store of which nothing but the name can't be read for a while. */
  function nameless(values: Map<string, Json>) {
    const inner = memoryStore(values);
    const trouble = { isOn: true };
    const read = (key: string) =>
      trouble.isOn && key === "client" ? Promise.reject(new Error("not now")) : inner.read(key);
    return { trouble, store: { ...inner, read } };
  }

  test("is left as it is, and told, while the client works under another name", async () => {
    const values = await withEdit();
    const before = structuredClone([...values]);
    const { client, platform, problems } = renamed(nameless(values).store);
    const document = client.open<{ title: string }>("event", "1");
    await settle();
    platform.socket.admit();
    await settle();
    const state = { title: "Theirs" };
    platform.socket.tell("SUBSCRIBE_ACK", { ...ID, version: 7, epoch: 1, role: "editor", state });
    document.set("/title", "Mine");
    await expect(document.stored()).rejects.toBeInstanceOf(StoreFullError);
    await vi.advanceTimersByTimeAsync(2 * RETRY_MS);
    expect(platform.socket.last("OP")?.payload).toMatchObject({ seq: 1 });
    expect(problems.map(({ code }) => code)).toEqual(["STORE_UNAVAILABLE"]); // once
    await client.close();
    expect([...values]).toEqual(before);
  });

  test("gives the client its name when it can, and what waited in it goes under that one", async () => {
    const values = await withEdit();
    const { clientId } = values.get("client") as { clientId: string };
    const { trouble, store } = nameless(values);
    const { client, platform, name } = renamed(store);
    const document = client.open<{ title: string }>("event", "2");
    await settle();
    platform.socket.admit();
    await settle();
    expect(name()).not.toBe(clientId);
    const told = { resource: "event", resource_type: "event", epoch: 1, role: "editor" };
    platform.socket.tell("SUBSCRIBE_ACK", { ...told, resource_id: "2", version: 7, state: { title: "Two" } });
    platform.socket.end(1006);
    document.set("/title", "Mine");
    await settle();
    trouble.isOn = false;
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    platform.socket.admit();
    await settle();
    expect(name()).toBe(clientId);
    expect(client.sync.snapshot).toMatchObject({ pending: 2, isStored: true });
    const ids = platform.socket.sent.filter(({ type }) => type === "SUBSCRIBE").map(({ payload }) => payload);
    expect(ids).toMatchObject([{ resource_id: "2" }, { resource_id: "1" }]);
    expect(ids[0]).not.toHaveProperty("version"); // under this name nothing of it is known
    await client.close();
    expect(values.get("client")).toMatchObject({ clientId });
    expect(JSON.stringify(values.get("doc/event:2"))).toContain("Mine");
  });

  test("gives it its name when what was sent under the other one has its answer: it is there once", async () => {
    const values = new Map<string, Json>();
    const told = { ...ID, version: 7, epoch: 1, role: "editor", state: { title: "" } };
    const before = renamed(memoryStore(values));
    before.client.open("event", "1");
    await settle();
    before.platform.socket.admit();
    before.platform.socket.tell("SUBSCRIBE_ACK", told);
    await before.client.close();
    const { clientId } = values.get("client") as { clientId: string };

    const { trouble, store } = nameless(values);
    const { client, platform, name } = renamed(store, undefined, 0.3);
    const document = client.open<{ title: string }>("event", "1");
    await settle();
    platform.socket.admit();
    await settle();
    const other = name();
    platform.socket.tell("SUBSCRIBE_ACK", told);
    document.setText("/title", "X");
    await settle();
    trouble.isOn = false;
    await vi.advanceTimersByTimeAsync(2 * RETRY_MS);
    expect(name()).toBe(other);
    platform.socket.tell("OP_ACK", { ...ID, id: "op-1", version: 8 });
    await settle();
    platform.socket.admit();
    await settle();
    expect(name()).toBe(clientId);
    expect(platform.socket.last("SUBSCRIBE")?.payload).toMatchObject({ version: 7 });
    const operations = [{ op: "text", path: "/title", value: ["X"] }];
    const change = { version: 8, client_id: other, operations };
    platform.socket.tell("SUBSCRIBE_ACK", { ...ID, version: 8, epoch: 1, role: "editor", changes: [change] });
    await settle();
    expect(document.snapshot).toMatchObject({ version: 8, view: { title: "X" }, pending: 0 });
    await client.close();
  });

  test("gives it its name though what was sent may not be edited any more, so has no answer", async () => {
    const { clientId } = (await withEdit().then((values) => values.get("client"))) as { clientId: string };
    const { trouble, store } = nameless(new Map<string, Json>([["client", { clientId }]]));
    const { client, platform, name } = renamed(store, undefined, 0.3);
    const document = client.open<{ title: string }>("event", "1");
    await settle();
    platform.socket.admit();
    const state = { title: "" };
    platform.socket.tell("SUBSCRIBE_ACK", { ...ID, version: 7, epoch: 1, role: "editor", state });
    await settle();
    document.setText("/title", "X");
    await settle();
    expect(platform.socket.last("OP")).toBeDefined();
    platform.socket.tell("ERROR", { ...ID, code: "FORBIDDEN", message: "No.", ref: null });
    expect(name()).not.toBe(clientId);
    trouble.isOn = false;
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    platform.socket.admit();
    await settle();
    expect(name()).toBe(clientId);
    await client.close();
  });

  test("and turns out to be another user's has nothing of this one in it", async () => {
    const values = new Map<string, Json>([["client", { clientId: "ann's", userId: "ann" }]]);
    const { trouble, store } = nameless(values);
    const { client, platform, problems } = renamed(store, "ben");
    client.open("event", "1").create({ title: "Ben's" });
    await settle();
    platform.socket.admit({ user_id: "ben" });
    trouble.isOn = false;
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    expect(problems.map(({ code }) => code)).toEqual(["STORE_UNAVAILABLE", "STORE_OTHER_USER"]);
    await client.close();
    expect([...values.keys()]).toEqual(["client"]);
  });
});

test("what waits to be sent is looked for again when the store recovers", async () => {
  const { trouble, store } = troubled(await withEdit());
  const { client } = offline(store, "another");
  await settle();
  trouble.isOn = false;
  await vi.advanceTimersByTimeAsync(RETRY_MS);
  expect(client.sync.snapshot.pending).toBe(1);
  await client.close();
});

test("a read that fails is tried once more: a store may have been closed while nobody used it", async () => {
  const inner = memoryStore(await withEdit());
  const failed = new Set<string>();
  /** Fails the first time. */
  const retried =
    <R>(work: (key: string) => Promise<R>) =>
    (key: string) => {
      const isFirst = !failed.has(key);
      failed.add(key);
      return isFirst ? Promise.reject(new Error("closed")) : work(key);
    };
  const { client } = offline({ ...inner, read: retried(inner.read), keys: retried(inner.keys) }, "another");
  await settle();
  expect(client.sync.snapshot.pending).toBe(1);
  expect([...failed]).toEqual(["client", "queue/", "doc/event:another", "doc/event:1"]);
  await client.close();
});

test("a document that is closed before it is read keeps its record", async () => {
  const values = await withEdit();
  const record = values.get("doc/event:1");
  const inner = memoryStore(values);
  const { goOn, pass } = gate();
  const read = (key: string) => pass().then(() => inner.read(key));
  const { client, document } = offline({ ...inner, read });
  document.close();
  await settle();
  goOn();
  await client.close();
  expect(values.get("doc/event:1")).toEqual(record);
  expect(values.get("queue/event:1")).toBe(1);
});

test("what is saved counts as stored by its owner alone, and not if the store is lost while it waits", async () => {
  const values = new Map<string, Json>();
  const inner = memoryStore(values);
  const { goOn, pass } = gate();
  const store: Store = { ...inner, write: (changes) => pass().then(() => inner.write(changes)) };
  const timers = { setTimeout, clearTimeout } as never;
  const keeper = new Keeper(store, timers, () => {});
  expect(await keeper.save("doc", () => "nobody's")).toBe(false);
  await keeper.own(async () => {});
  const [written, waiting] = [keeper.save("doc", () => "first"), keeper.save("doc", () => "second")];
  keeper.isOwner = false;
  const regained = keeper.own(async () => {});
  goOn();
  await regained;
  expect(await Promise.all([written, waiting])).toEqual([true, false]);
  expect(values.get("doc")).toBe("first");
});

test("an edit made while the one before is stored doesn't make that one fail", async () => {
  const environment = new FakePlatform().environment();
  const inner = memoryStore();
  let writing = () => {};
  const write: Store["write"] = (changes) => {
    writing();
    return inner.write(changes);
  };
  const store = { ...inner, write };
  const options = { url: "ws://gateway/realtime", getToken: () => "", store, environment, connect: false };
  const client = createClient(options);
  const document = client.open("event", "1");
  await vi.advanceTimersByTimeAsync(0);
  document.create({ title: "Sync" });
  await document.stored();
  document.set("/title", "Lunch");
  const stored = document.stored();
  writing = () => {
    writing = () => {};
    document.set("/title", "Dinner");
  };
  await stored;
  await client.close();
});

test("a store that has null for what it never was given is as good as one that has nothing", async () => {
  const inner = memoryStore();
  const read: Store["read"] = async (key) => (await inner.read(key)) ?? null;
  const { client, document } = offline({ ...inner, read });
  await settle();
  document.create({ title: "Sync" });
  await document.stored();
  expect(document.snapshot.isStored).toBe(true);
  await client.close();
});
