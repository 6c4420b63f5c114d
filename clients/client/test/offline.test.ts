/** Offline and back, on a real gateway: the durable queue, crashes, and long absences. */

import { type Json, memoryStore } from "@collab/client";
import { expect, test } from "vitest";
import { type Event, People } from "./support/people.js";
import { problemsOf } from "./support/problems.js";
import { goOffline, until } from "./support/until.js";

// The least work that an edit may be: one that meets some hundreds of others is too much.
const people = new People({ "limits.edit_work_max": 1_000_000 });

test("edits made offline arrive, merged with what others did meanwhile", async () => {
  const { document: ann } = await people.event("ann", { title: "Sync", description: "Bring cake." });
  const { client, document: ben } = await people.join("ben", ann.id);
  await goOffline(client);
  ben.setText("/description", "Bring cake and tea.");
  ben.set("/location", "Room 2");
  expect(client.sync.snapshot).toMatchObject({ state: "offline", pending: 2 });
  ann.setText("/description", "Please bring cake.");
  await ann.saved();
  client.connect();
  await ben.saved();
  const merged = { title: "Sync", description: "Please bring cake and tea.", location: "Room 2" };
  expect(ben.snapshot.view).toEqual(merged);
  await until(ann, (now) => now.view?.location === "Room 2");
  expect(ann.snapshot.view).toEqual(merged);
});

test("what was typed offline in many places stays, however much was typed there meanwhile", async () => {
  const places = Array.from({ length: 20 }, (_, index) => `place ${index}.`);
  const event = { description: places.join(" ") };
  const { document: ann } = await people.event("ann", event, { typingIntervalMs: 0 });
  const { client, document: ben } = await people.join("ben", ann.id);
  const problems = problemsOf(client);
  await goOffline(client);
  for (const place of places) {
    const text = ben.snapshot.view?.description ?? "";
    ben.setText("/description", text.replace(place, `${place} Ben.`));
  }
  for (let edit = 0; edit < 250; edit++) {
    ann.edit({ op: "text", path: "/description", value: ["x"] });
    await ann.saved();
  }
  client.connect();
  await ben.saved();
  const description = "x".repeat(250) + places.map((place) => `${place} Ben.`).join(" ");
  expect(ben.snapshot.view).toEqual({ description });
  await until(ann, (now) => now.view?.description === description);
  expect(problems).toEqual([]);
});

test("a client that is closed offline with 150 edits has them all, once, when it is opened again", async () => {
  const values = new Map<string, Json>();
  const first = people.client("ann", { store: memoryStore(values) });
  const document = first.open<Event>("event", people.newId());
  await document.ready();
  document.create({ description: "", tags: [] });
  await document.saved();
  await goOffline(first);
  for (let edit = 0; edit < 100; edit++)
    document.setText("/description", `${document.snapshot.view?.description}x`);
  for (let edit = 0; edit < 50; edit++) document.edit({ op: "add", path: "/tags/-", value: `tag ${edit}` });
  await document.stored();
  expect(document.snapshot).toMatchObject({ pending: 150, isStored: true });
  // The tab is gone without a word: what counts is what the store has now.
  const left = new Map(structuredClone([...values]));
  await first.close();

  const offline = people.client("ann", { store: memoryStore(left), connect: false });
  const again = offline.open<Event>("event", document.id);
  await again.ready();
  expect(again.snapshot.view?.description).toHaveLength(100);
  expect(again.snapshot).toMatchObject({ pending: 150, isLive: false });
  offline.connect();
  await again.saved();
  const { document: ben } = await people.join("ben", document.id);
  expect(ben.snapshot.view).toEqual(again.snapshot.view);
  expect(ben.snapshot.view?.description).toBe("x".repeat(100));
  expect(ben.snapshot.view?.tags).toHaveLength(50);
  expect([...left.keys()].filter((key) => key.startsWith("queue/"))).toEqual([]);
});

test("what was kept is sent although nobody opens the document again", async () => {
  const values = new Map<string, Json>();
  const { document: ann } = await people.event("ann");
  const first = people.client("ben", { store: memoryStore(values) });
  const document = first.open<Event>("event", ann.id);
  await document.ready();
  await goOffline(first);
  document.set("/title", "From the train");
  await document.stored();
  await first.close();
  people.client("ben", { store: memoryStore(values) });
  await until(ann, (now) => now.view?.title === "From the train");
});

test("an event that somebody else made meanwhile stays, and what was made offline is told", async () => {
  const id = people.newId();
  const { client, document: ben } = await people.join("ben", id);
  const problems: unknown[] = [];
  client.onProblem(({ code, operations }) => problems.push({ code, count: operations?.length }));
  await goOffline(client);
  ben.create({ title: "Ben's" });
  ben.set("/location", "Room 1");
  const { document: ann } = await people.join("ann", id);
  ann.create({ title: "Ann's" });
  await ann.saved();
  client.connect();
  await expect(ben.saved()).rejects.toMatchObject({ code: "CONFLICT" });
  ann.set("/description", "by Ann");
  await until(ben, (now) => now.view?.description === "by Ann");
  expect(ben.snapshot.view).toEqual({ title: "Ann's", description: "by Ann" });
  expect(problems).toEqual([{ code: "EDIT_REFUSED", count: 2 }]);
});

test("an event that is made offline is there when the network is", async () => {
  const client = people.client("ann", { connect: false });
  const document = client.open<Event>("event", people.newId());
  document.create({ title: "New" });
  document.set("/location", "Room 1");
  expect(document.snapshot.view).toEqual({ title: "New", location: "Room 1" });
  client.connect();
  await document.saved();
  const { document: ben } = await people.join("ben", document.id);
  expect(ben.snapshot.view).toEqual({ title: "New", location: "Room 1" });
});

test("an event that is made is told once it is there", () => {
  const client = people.client("ann", { connect: false });
  const [made, failed] = [people.newId(), people.newId()].map((id) => {
    const document = client.open<Event>("event", id);
    const told: unknown[] = [];
    document.subscribe(() => told.push(document.snapshot));
    return { document, told };
  });
  made?.document.create({ title: "New" });
  expect(made?.told).toMatchObject([{ status: "ready", view: { title: "New" } }]);
  expect(() => failed?.document.create({ title: Number.NaN } as never)).toThrow("NaN");
  expect(failed?.told).toMatchObject([{ status: "ready", view: null }]);
});

test("a server that is killed and comes back loses nothing", async () => {
  const { document: ann } = await people.event("ann", { description: "" });
  const { document: ben } = await people.join("ben", ann.id);
  ann.setText("/description", "before ");
  await people.gateway.kill();
  ann.setText("/description", "before and meanwhile");
  ben.set("/title", "Ben's");
  await until(ann, (now) => !now.isLive);
  await people.gateway.run();
  await Promise.all([ann.saved(), ben.saved()]);
  await until(ann, (now) => now.view?.title === "Ben's");
  await until(ben, (now) => now.view?.description === "before and meanwhile");
});

test("after a history that is gone, states are merged", async () => {
  const values = new Map<string, Json>();
  const { document: ann } = await people.event("ann", {
    title: "Sync",
    description: "Bring cake.",
    tags: ["a"],
  });
  const first = people.client("ben", { store: memoryStore(values) });
  const ben = first.open<Event>("event", ann.id);
  await ben.ready();
  await goOffline(first);
  ben.set("/title", "Ben's");
  ben.edit({ op: "add", path: "/tags/-", value: "ben" });
  ben.setText("/description", "Bring cake and tea.");
  await ben.stored();
  await first.close();
  ann.set("/title", "Ann's");
  ann.setText("/description", "Please bring cake.");
  ann.edit({ op: "add", path: "/tags/-", value: "ann" });
  await ann.saved();
  // As after a restore from a backup: the epoch that the store knows is another one.
  const key = `doc/event:${ann.id}`;
  values.set(key, { ...(values.get(key) as object), epoch: 12345 } as Json);
  const second = people.client("ben", { store: memoryStore(values) });
  const again = second.open<Event>("event", ann.id);
  await until(again, (now) => now.isLive && now.pending === 0);
  expect(again.snapshot.view).toMatchObject({ title: "Ann's", description: "Please bring cake and tea." });
  expect([...(again.snapshot.view?.tags ?? [])].sort()).toEqual(["a", "ann", "ben"]);
  expect(again.snapshot.conflicts).toMatchObject([
    { kind: "merged", path: "/title", base: "Sync", mine: "Ben's", theirs: "Ann's" },
  ]);
  again.resolve(again.snapshot.conflicts[0]?.id ?? "", "mine");
  expect(again.snapshot.conflicts).toEqual([]);
  await until(ann, (now) => now.view?.title === "Ben's");
});

test("more changes than the server tells one by one come as a state", async () => {
  const { document: ann } = await people.event("ann", { title: "Sync", description: "" });
  const { client, document: ben } = await people.join("ben", ann.id);
  await goOffline(client);
  ben.setText("/description", "Ben was here.");
  for (let edit = 0; edit < 1_010; edit++) {
    ann.set(edit % 2 ? "/title" : "/location", `Sync ${edit}`);
    await ann.saved();
  }
  client.connect();
  await ben.saved();
  const others = { title: "Sync 1009", location: "Sync 1008" };
  expect(ben.snapshot.view).toEqual({ ...others, description: "Ben was here." });
  await until(ann, (now) => now.view?.description === "Ben was here.");
});

test("an offline queue that is too long for one message goes in several", async () => {
  const { document: ann } = await people.event("ann", { tags: [] });
  const { client, document: ben } = await people.join("ben", ann.id);
  const problems: string[] = [];
  client.onProblem((problem) => problems.push(problem.code));
  await goOffline(client);
  const long = "x".repeat(10_000);
  for (let tag = 0; tag < 60; tag++) ben.edit({ op: "add", path: "/tags/-", value: `${tag} ${long}` });
  ben.set("/title", "T".repeat(300_000)); // this one is too long in whatever company
  ben.set("/location", "Room 1");
  client.connect();
  await until(ben, (now) => now.isLive && now.pending === 0);
  await until(ann, (now) => now.view?.location === "Room 1" && now.view.tags?.length === 60);
  expect(ann.snapshot.view).toEqual(ben.snapshot.view);
  expect(ben.snapshot.view?.title).toBeUndefined();
  expect(problems).toEqual(["EDIT_REFUSED"]);
});

test("of what was pasted offline into one text only what is too long by itself is lost", async () => {
  const { document: ann } = await people.event("ann", { description: "" });
  const { client, document: ben } = await people.join("ben", ann.id);
  const problems: string[] = [];
  client.onProblem((problem) => problems.push(problem.code));
  await goOffline(client);
  const type = (text: string) => ben.setText("/description", (ben.snapshot.view?.description ?? "") + text);
  const pasted = ["a", "b", "c"].map((letter) => letter.repeat(100_000));
  for (const text of ["Notes: ", ...pasted]) type(text);
  type("x".repeat(300_000));
  type("!");
  client.connect();
  await until(ben, (now) => now.isLive && now.pending === 0);
  expect(ben.snapshot.view?.description).toBe(`Notes: ${pasted.join("")}!`);
  await until(ann, (now) => now.version === ben.snapshot.version);
  expect(ann.snapshot.view).toEqual(ben.snapshot.view);
  expect(problems).toEqual(["EDIT_REFUSED"]);
});

test.each([
  ["too long", "x".repeat(300_000)],
  ["of more brackets than a message may have", "[".repeat(70_000)],
])("who waits for an edit that is %s hears that it is refused", async (_, text) => {
  const { document } = await people.event("ann");
  document.set("/description", text);
  await expect(document.saved()).rejects.toMatchObject({ name: "EditError", code: "TOO_LARGE" });
  expect(document.snapshot.view).toEqual({ title: "Sync" });
});
