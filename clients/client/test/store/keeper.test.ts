/** A store that fails for a while, with the clock in the test's hand. */

import { createClient, type Json, memoryStore, type Store, StoreFullError } from "@collab/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Keeper } from "../../src/store/keeper.js";
import { FakePlatform } from "../support/fake.js";

const RETRY_MS = 30_000;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A store that takes nothing while it is full. */
function filling(values: Map<string, Json>) {
  const inner = memoryStore(values);
  const room = { isFull: false };
  const store: Store = {
    ...inner,
    write: (changes) => (room.isFull ? Promise.reject(new StoreFullError("no room")) : inner.write(changes)),
  };
  return { room, store };
}

test("one edit that can't be stored is told as unsaved, and as stored when there is room again", async () => {
  const { room, store } = filling(new Map());
  const environment = new FakePlatform().environment();
  const client = createClient({
    url: "ws://gateway/realtime",
    getToken: () => "",
    store,
    environment,
    connect: false,
  });
  const document = client.open("event", "1");
  await vi.advanceTimersByTimeAsync(0);
  document.create({ title: "Sync" });
  await document.stored();
  room.isFull = true;
  document.set("/title", "Unstored");
  await vi.advanceTimersByTimeAsync(0);
  expect(client.sync.snapshot).toMatchObject({ state: "unsaved", isStored: false });
  room.isFull = false;
  await vi.advanceTimersByTimeAsync(RETRY_MS);
  expect(document.snapshot.isStored).toBe(true);
  expect(client.sync.snapshot).toMatchObject({ state: "offline", isStored: true });
  await client.close();
});

test("what could not be stored isn't written over the records of a tab that has the store by now", async () => {
  const values = new Map<string, Json>();
  const { room, store } = filling(values);
  const timers = { setTimeout, clearTimeout } as never;
  const keeper = new Keeper(
    store,
    timers,
    () => {},
    () => {},
  );
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
