/** A client whose store is full, broken or somebody else's: told, and nothing lost that is elsewhere. */

import {
  createClient,
  type Json,
  memoryStore,
  type Problem,
  type Store,
  StoreCorruptError,
  StoreFullError,
} from "@collab/client";
import { expect, test, vi } from "vitest";
import { type Event, People } from "../support/people.js";
import { problemsOf } from "../support/problems.js";
import { filling } from "../support/stores.js";
import { goOffline } from "../support/until.js";

const people = new People();

test("with a full store edits go on, are told to be in memory only, and arrive", async () => {
  const { room, store } = filling(memoryStore());
  const { client, document } = await people.event("ann", { title: "Sync" }, { store });
  const problems = problemsOf(client);
  await goOffline(client);
  room.isFull = true;
  document.set("/title", "Unstored");
  await expect(document.stored()).rejects.toBeInstanceOf(StoreFullError);
  document.set("/location", "Room 1");
  await expect(document.stored()).rejects.toBeInstanceOf(StoreFullError);
  expect(problems.map((problem) => problem.code)).toEqual(["STORE_FULL"]); // once, not for each edit
  expect(document.snapshot.isStored).toBe(false);
  expect(client.sync.snapshot).toMatchObject({ state: "unsaved", pending: 2, isStored: false });
  client.connect();
  await document.saved();
  const { document: ben } = await people.join("ben", document.id);
  expect(ben.snapshot.view).toEqual({ title: "Unstored", location: "Room 1" });
});

test("a record that can't be read is told, and the document comes from the server", async () => {
  const { document: ann } = await people.event("ann");
  const inner = memoryStore();
  const store: Store = {
    ...inner,
    read: (key) =>
      key.startsWith("doc/") ? Promise.reject(new StoreCorruptError("broken")) : inner.read(key),
  };
  const client = people.client("ben", { store });
  const problems = problemsOf(client);
  const document = client.open<Event>("event", ann.id);
  await document.ready();
  expect(document.snapshot.view).toEqual({ title: "Sync" });
  expect(problems.map((problem) => problem.code)).toEqual(["STORE_CORRUPT"]);
});

test("a record that makes no sense is set aside, and the document comes from the server", async () => {
  const { document: ann } = await people.event("ann");
  const key = `doc/event:${ann.id}`;
  const values = new Map<string, Json>([
    [key, { replica: { document: {}, version: 1, buffer: [[["rem", ["x"]]]] } }],
  ]);
  const client = people.client("ben", { store: memoryStore(values) });
  const problems = problemsOf(client);
  const document = client.open<Event>("event", ann.id);
  await document.ready();
  expect(document.snapshot.view).toEqual({ title: "Sync" });
  expect(problems.map((problem) => problem.code)).toEqual(["STORE_CORRUPT"]);
  await vi.waitFor(() => expect(values.has(`corrupt/event:${ann.id}`)).toBe(true), 100_000);
});

test("without a userId what is stored is there before the server says who is here", async () => {
  const values = new Map<string, Json>();
  const { client, document } = await people.event("ann", { title: "Sync" }, { store: memoryStore(values) });
  await document.stored();
  await client.close();
  const { url } = people.gateway;
  const getToken = () => people.gateway.token("ann");
  const again = createClient({ url, getToken, store: memoryStore(values), connect: false });
  const kept = again.open<Event>("event", document.id);
  await kept.ready();
  expect(kept.snapshot.view).toEqual({ title: "Sync" });
  await again.close();
});

test("another user's store is left alone", async () => {
  const values = new Map<string, Json>();
  const { document } = await people.event("ann", { title: "Sync" }, { store: memoryStore(values) });
  document.set("/title", "Ann's");
  await document.stored();
  const before = structuredClone(values.get(`doc/event:${document.id}`));
  const left = new Map<string, Json>(structuredClone([...values]));
  const client = people.client("ben", { store: memoryStore(left) });
  const problem = new Promise<Problem>((resolve) => client.onProblem(resolve));
  expect(await problem).toMatchObject({ code: "STORE_OTHER_USER" });
  const made = client.open<Event>("event", people.newId());
  made.create({ title: "Ben's" });
  await expect(made.stored()).rejects.toBeInstanceOf(StoreFullError);
  expect(made.snapshot.isStored).toBe(false);
  expect(client.sync.snapshot).toMatchObject({ state: "unsaved", isStored: false });
  expect(client.connection.snapshot.isPaused).toBe(true);
  expect(left.get(`doc/event:${document.id}`)).toEqual(before);
});

test("what is made before it is known whose store it is isn't written to another user's", async () => {
  const values = new Map<string, Json>([["client", { clientId: "ann's", userId: "ann" }]]);
  const client = people.client("ben", { store: memoryStore(values) });
  const made = client.open<Event>("event", people.newId());
  made.create({ title: "Ben's" });
  await expect(made.stored()).rejects.toBeInstanceOf(StoreFullError);
  await client.close();
  expect([...values.keys()]).toEqual(["client"]);
});
