/** Documents on a real gateway: undo, roles, deletion, refusals, and what an application sees meanwhile. */

import { EditError } from "@collab/client";
import { expect, test, vi } from "vitest";
import { type Event, People } from "./support/people.js";
import { problemsOf } from "./support/problems.js";
import { goOffline, until } from "./support/until.js";

const people = new People();

test("an edit shows at once, is pending, and then saved", async () => {
  const { client, document } = await people.event("ann");
  const seen: string[] = [];
  document.subscribe(() => seen.push(`${document.snapshot.view?.title} ${document.snapshot.pending}`));
  document.set("/title", "Stand-up");
  expect(document.snapshot.view).toEqual({ title: "Stand-up" });
  expect(document.snapshot.pending).toBe(1);
  expect(client.sync.snapshot).toMatchObject({ state: "saving", pending: 1 });
  await document.saved();
  expect(document.snapshot).toMatchObject({ pending: 0, version: 2, isLive: true, isStored: true });
  expect(client.sync.snapshot).toEqual({ state: "saved", pending: 0, isStored: true });
  expect(seen[0]).toBe("Stand-up 1");
  expect(seen.at(-1)).toBe("Stand-up 0");
});

test("a snapshot is the same object until something changes", async () => {
  const { document } = await people.event("ann");
  const before = document.snapshot;
  expect(document.snapshot).toBe(before);
  document.set("/title", "Other");
  expect(document.snapshot).not.toBe(before);
  expect(before.view?.title).toBe("Sync");
});

test.each([
  ["into a text", "/description", "setText"],
  ["a text that is one value", "/title", "set"],
] as const)(
  "typing %s is sent at most five times a second, and undone by the burst",
  async (_, path, edit) => {
    const environment = { now: () => Date.now() }; // the clock that stands still
    const { document } = await people.event("ann", { title: "", description: "" }, { environment });
    const text = () => document.snapshot.view?.[path === "/title" ? "title" : "description"];
    const start = document.snapshot.version;
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"] });
    try {
      for (let key = 1; key <= 20; key++) {
        document[edit](path, "x".repeat(key));
        await vi.advanceTimersByTimeAsync(20);
      }
      // What waits for its turn goes; an answer may take long.
      await vi.waitFor(() => expect(document.snapshot.pending).toBe(0), { timeout: 100_000 });
    } finally {
      vi.useRealTimers();
    }
    const patches = document.snapshot.version - start;
    expect(patches).toBeGreaterThan(0);
    expect(patches).toBeLessThanOrEqual(4); // within 600 ms; one each 20 ms would be 20
    document.undo();
    expect(text()).toBe("");
    document.redo();
    expect(text()).toBe("x".repeat(20));
    await document.saved();
  },
);

test("texts that are typed together, each as one value, are undone by the burst", async () => {
  const { document } = await people.event("ann", { title: "", location: "" });
  const replace = (path: string, value: string) => ({ op: "replace", path, value }) as const;
  for (const typed of ["1", "11", "11:30"])
    document.edit([replace("/title", typed), replace("/location", `${typed}!`)]);
  document.undo();
  expect(document.snapshot.view).toEqual({ title: "", location: "" });
  document.redo();
  document.set("/location", "Room 1"); // one of them alone is another edit
  document.undo();
  expect(document.snapshot.view).toEqual({ title: "11:30", location: "11:30!" });
  await document.saved();
});

test("what an application edits by itself is no change of the user's: undo leaves it, and takes back what was before it", async () => {
  const { document } = await people.event("ann", { description: "one\r\n" });
  const origins: string[] = [];
  document.onChange(({ origin }) => origins.push(origin));
  document.setText("/description", "one\r\ntwo");
  document.edit({ op: "text", path: "/description", value: [3, { d: 1 }] }, false);
  expect(document.snapshot.view?.description).toBe("one\ntwo");
  document.undo();
  expect(document.snapshot.view?.description).toBe("one\n");
  expect(origins).toEqual(["local", "remote", "local"]);
});

test("what would come of an undo or a redo can be looked at before, and nothing is done where it isn't wanted", async () => {
  const { document } = await people.event("ann", { title: "" });
  const isThere = (event: unknown) => event !== null;
  document.set("/title", "Lunch");
  for (let key = 1; key <= 3; key++) document.undo(isThere);
  expect(document.snapshot).toMatchObject({ view: { title: "" }, canUndo: true, canRedo: true });
  void document.delete();
  document.undo(isThere);
  document.redo(isThere);
  expect(document.snapshot).toMatchObject({ view: { title: "" }, canUndo: true, canRedo: true });
  document.redo();
  expect(document.snapshot.isDeleted).toBe(true);
  await document.saved();
});

test("undo takes back one's own edits and leaves others'", async () => {
  const { document: ann } = await people.event("ann", { title: "Sync", location: "Room 1" });
  const { document: ben } = await people.join("ben", ann.id);
  ann.set("/title", "Stand-up");
  ben.set("/location", "Room 2");
  await until(ann, (now) => now.view?.location === "Room 2");
  expect(ann.snapshot).toMatchObject({ canUndo: true, canRedo: false });
  ann.undo();
  expect(ann.snapshot.view).toEqual({ title: "Sync", location: "Room 2" });
  expect(ann.snapshot.canRedo).toBe(true);
  await ann.saved();
  await until(ben, (now) => now.view?.title === "Sync" && now.view.location === "Room 2");
});

test("a viewer sees and doesn't edit", async () => {
  const { document } = await people.event("ann");
  const { document: eve } = await people.join("eve", document.id, {}, { grants: { "event:*": "viewer" } });
  expect(eve.snapshot).toMatchObject({ role: "viewer", canEdit: false, view: { title: "Sync" } });
  expect(() => eve.set("/title", "Mine")).toThrow(EditError);
});

test("what the token doesn't grant is forbidden, and says so", async () => {
  const { document } = await people.event("ann");
  const { document: eve } = await people.join(
    "eve",
    document.id,
    {},
    { grants: { "event:other": "viewer" } },
  );
  expect(eve.snapshot.status).toBe("forbidden");
  expect(() => eve.set("/title", "Mine")).toThrow("The token grants no edits");
  expect(() => eve.create({ title: "Mine" })).toThrow("The token grants no edits");
  expect(eve.snapshot).toMatchObject({ status: "forbidden", pending: 0 });
});

test("an id that can't be one is refused for good, and keeps nobody from another document", async () => {
  const { document } = await people.event("ann");
  const client = people.client("ben", { connect: false });
  await until(client.connection, (now) => now.isPaused);
  const problems = problemsOf(client);
  const mangled = client.open("event", `${document.id})`);
  const whole = client.open<Event>("event", document.id);
  mangled.create({ title: "Mine" });
  const refusal = { code: "INVALID_MESSAGE", message: expect.stringContaining("resource_id") };
  const saved = expect(mangled.saved()).rejects.toMatchObject(refusal);
  client.connect();
  await until(mangled, (now) => now.status === "forbidden");
  await until(whole, (now) => now.isLive && now.view?.title === "Sync");
  await saved;
  await expect(mangled.saved()).rejects.toMatchObject(refusal);
  expect(problems).toMatchObject([{ code: "ERROR", id: mangled.id, refusal }]);
});

test("an edit of nothing is refused before it is sent", async () => {
  const { document } = await people.event("ann");
  const before = document.snapshot;
  expect(() => document.remove("/nothing")).toThrow(EditError);
  expect(() =>
    document.edit([
      { op: "replace", path: "/title", value: "A" },
      { op: "remove", path: "/no" },
    ]),
  ).toThrow();
  expect(document.snapshot).toBe(before);
});

test("an edit that the schema refuses leaves the view, and its author is told", async () => {
  const { client, document } = await people.event("ann");
  const problems = problemsOf(client);
  document.set("/start_time", "tomorrow");
  document.set("/location", "Room 1");
  await expect(document.saved()).rejects.toMatchObject({ code: "INVALID_OPERATION" });
  await until(document, (now) => now.pending === 0);
  expect(document.snapshot.view).toEqual({ title: "Sync", location: "Room 1" });
  expect(problems[0]).toMatchObject({ code: "EDIT_REFUSED", type: "event", id: document.id });
  expect(problems[0]?.operations).toEqual([{ op: "add", path: "/start_time", value: "tomorrow" }]);
});

test("deleting is for everybody, and creating begins anew", async () => {
  const { document: ann } = await people.event("ann");
  const { document: ben } = await people.join("ben", ann.id);
  await ann.delete();
  await until(ben, (now) => now.isDeleted);
  expect(ben.snapshot.view).toBeNull();
  ben.create({ title: "Again" });
  await ben.saved();
  await until(ann, (now) => now.view?.title === "Again");
});

test("opened twice it is one object, and the last close ends it", async () => {
  const { client, document } = await people.event("ann");
  const again = client.open("event", document.id);
  expect(again).toBe(document);
  again.close();
  document.set("/title", "Still");
  await document.saved();
  document.close();
  await until(document, (now) => now.status === "closed");
});

test("closed with something pending, it is sent first", async () => {
  const { document: ann } = await people.event("ann");
  const { document: ben } = await people.join("ben", ann.id);
  ben.set("/title", "Last words");
  ben.close();
  await until(ann, (now) => now.view?.title === "Last words");
});

test("of a patch with one bad operation the others are kept", async () => {
  const { client, document } = await people.event("ann");
  await goOffline(client);
  document.set("/title", "Stand-up");
  document.set("/start_time", "tomorrow");
  document.set("/location", "Room 1");
  client.connect();
  await until(document, (now) => now.pending === 0 && now.isLive);
  expect(document.snapshot.view).toEqual({ title: "Stand-up", location: "Room 1" });
});

test("what is opened after its client was closed is closed", async () => {
  const { client } = await people.event("ann");
  await client.close();
  const document = client.open<Event>("event", "late");
  await document.ready();
  expect(document.snapshot.status).toBe("closed");
  expect(() => document.create({ title: "Late" })).toThrow(expect.objectContaining({ code: "CLOSED" }));
});

test("what is edited right after the last close is sent with what waited", async () => {
  const { client, document } = await people.event("ann");
  document.close();
  document.set("/title", "Written as the form went");
  await until(document, (now) => now.status === "closed");
  const again = client.open<Event>("event", document.id);
  await again.ready();
  expect(again.snapshot).toMatchObject({ view: { title: "Written as the form went" }, pending: 0 });
});

test("a document that was closed takes no edit, and opened again it does", async () => {
  const { client, document } = await people.event("ann");
  document.close();
  await until(document, (now) => now.status === "closed");
  expect(() => document.set("/title", "Late")).toThrow(expect.objectContaining({ code: "CLOSED" }));
  expect(() => document.undo()).toThrow(expect.objectContaining({ code: "CLOSED" }));
  const again = client.open<Event>("event", document.id);
  await again.ready();
  again.set("/title", "Again");
  await again.saved();
});
