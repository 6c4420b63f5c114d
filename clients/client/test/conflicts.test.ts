/** Conflicts on a real gateway: told, asked about, and resolved each way. */

import {
  type ClientOptions,
  type Conflict,
  type Json,
  memoryStore,
  type PatchOperation,
  type Problem,
  type SharedDocument,
} from "@collab/client";
import { describe, expect, test } from "vitest";
import { type Event, People } from "./support/people.js";
import { problemsOf } from "./support/problems.js";
import { goOffline, until } from "./support/until.js";

const people = new People();

/** Why a resolution can't be written, and the way out. */
const GONE = expect.stringMatching(/is gone\. Choose the other side/);

const person = (user_id: string, response_status = "NEEDS_ACTION") => ({ user_id, response_status });
const attendees = ["ann", "ben", "carol"].map((user) => person(user));

/** What Ann does while Ben, offline, does something else; he is on the way back. */
async function meeting(
  value: Event,
  offline: (ben: SharedDocument<Event>) => void,
  online: (ann: SharedDocument<Event>) => void,
  onConflict: "merge" | "ask" = "merge",
  options: Partial<ClientOptions> = {},
) {
  const { document: ann } = await people.event("ann", value);
  const { client } = await people.join("ben", ann.id, options);
  const ben = client.open<Event>("event", ann.id, { onConflict });
  const problems = problemsOf(client);
  await goOffline(client);
  offline(ben);
  online(ann);
  await ann.saved();
  client.connect();
  const { conflicts } = await until(ben, (now) => now.conflicts.length > 0);
  const [conflict] = conflicts as [Conflict];
  return { ann, ben, client, conflicts, conflict, problems };
}

/** Ann wrote a title while Ben, offline, wrote another; he is on the way back. */
const clash = (onConflict: "merge" | "ask", theirs = "Ann's") =>
  meeting(
    { title: "Sync" },
    (ben) => ben.set("/title", "Ben's"),
    (ann) => ann.set("/title", theirs),
    onConflict,
  );

test("a value that was overwritten unseen is told, with what everybody wrote", async () => {
  const { ann, ben, conflict } = await clash("merge");
  expect(conflict).toMatchObject({
    path: "/title",
    kind: "overwrote",
    base: "Sync",
    mine: "Ben's",
    theirs: "Ann's",
    userId: "ann",
    version: 2,
    omitted: [],
  });
  expect(conflict.timestamp).toBeGreaterThan(0);
  await until(ann, (now) => now.view?.title === "Ben's"); // committed all the same
  ben.resolve(conflict.id, "theirs");
  expect(ben.snapshot.conflicts).toEqual([]);
  await until(ann, (now) => now.view?.title === "Ann's");
});

test("mine needs nothing more, and a merge is an edit", async () => {
  const { ann, ben, conflict } = await clash("merge");
  ben.resolve(conflict.id, "mine");
  expect(ben.snapshot.conflicts).toEqual([]);
  expect(ben.snapshot.view?.title).toBe("Ben's");
  const other = await clash("merge");
  other.ben.resolve(other.conflict.id, { value: "Both" });
  await until(other.ann, (now) => now.view?.title === "Both");
  await until(ann, (now) => now.view?.title === "Ben's");
});

test("of a document that nobody has open any more it is told that it has conflicts, until they are resolved", async () => {
  const { document: ann } = await people.event("ann", { title: "Sync" });
  const { client, document: ben } = await people.join("ben", ann.id);
  const problems: Problem[] = [];
  client.onProblem((problem) => problems.push(problem));
  client.disconnect();
  await until(client.connection, (now) => now.isPaused);
  ben.set("/title", "Ben's");
  ben.close();
  ann.set("/title", "Ann's");
  await ann.saved();
  client.connect();
  await until(ben, (now) => now.status === "closed");
  expect(problems).toMatchObject([{ code: "CONFLICT", type: "event", id: ann.id }]);
  const again = client.open("event", ann.id);
  const { conflicts } = await until(again, (now) => now.conflicts.length > 0);
  again.resolve(conflicts[0]?.id as string, "mine");
  again.close();
  await until(again, (now) => now.status === "closed");
  expect(problems).toHaveLength(1);
});

test("what is too long to be told is fetched when it is chosen", async () => {
  const long = "A".repeat(5_000);
  const { ann, ben, conflict } = await clash("merge", long);
  expect(conflict).toMatchObject({ theirs: undefined, omitted: ["theirs"] });
  await until(ann, (now) => now.view?.title === "Ben's");
  ben.resolve(conflict.id, "theirs");
  await until(ann, (now) => now.view?.title === long);
});

test.each([
  ["mine", "mine" as const, "Ben's"],
  ["theirs", "theirs" as const, "Ann's"],
  ["a merge", { value: "Both" }, "Both"],
])("asked, nothing is overwritten before the answer: %s", async (_name, resolution, title) => {
  const { ann, ben, conflict } = await clash("ask");
  expect(conflict).toMatchObject({ kind: "refused", base: "Sync", mine: "Ben's", theirs: "Ann's" });
  expect(ann.snapshot.view?.title).toBe("Ann's");
  expect(ben.snapshot).toMatchObject({ pending: 1, view: { title: "Ben's" } });
  ben.resolve(conflict.id, resolution);
  await until(ben, (now) => now.pending === 0);
  await until(ann, (now) => now.view?.title === title);
  expect(ben.snapshot.view?.title).toBe(title);
  expect(ben.snapshot.conflicts).toEqual([]);
});

/** Ben's first edit is in flight when his connection ends, and what he writes then waits behind it. */
async function behind(onConflict: "merge" | "ask") {
  const { document: ann } = await people.event("ann", { title: "Sync" });
  const { client } = await people.join("ben", ann.id);
  const ben = client.open<Event>("event", ann.id, { onConflict });
  ben.set("/location", "Room 1");
  await goOffline(client);
  ben.set("/title", "Ben's");
  ann.set("/title", "Ann's");
  await ann.saved();
  client.connect();
  const { conflicts } = await until(ben, (now) => now.conflicts.length > 0);
  return { ann, ben, conflict: conflicts[0] as Conflict };
}

test("what waited behind an edit on its way tells of what it takes the place of", async () => {
  const { ann, ben, conflict } = await behind("merge");
  expect(conflict).toMatchObject({
    kind: "overwrote",
    base: "Sync",
    mine: "Ben's",
    theirs: "Ann's",
    userId: "ann",
  });
  await until(ann, (now) => now.view?.title === "Ben's");
  ben.resolve(conflict.id, "theirs");
  await until(ann, (now) => now.view?.title === "Ann's");
  expect(ben.snapshot.conflicts).toEqual([]);
});

test.each(["mine" as const, "theirs" as const])(
  "and is held back where it is asked: %s",
  async (resolution) => {
    const { ann, ben, conflict } = await behind("ask");
    expect(conflict).toMatchObject({ kind: "refused", base: "Sync", mine: "Ben's", theirs: "Ann's" });
    expect(ben.snapshot.view?.title).toBe("Ben's");
    expect(ann.snapshot.view?.title).toBe("Ann's");
    ben.resolve(conflict.id, resolution);
    await ben.saved();
    const title = resolution === "mine" ? "Ben's" : "Ann's";
    await until(ann, ({ view }) => view?.title === title && view.location === "Room 1");
    expect(ben.snapshot).toMatchObject({ view: { title, location: "Room 1" }, conflicts: [] });
  },
);

test("what was made to be asked about is, also where the page was loaded anew before it was sent", async () => {
  const values = new Map<string, Json>();
  const { document: ann } = await people.event("ann", { title: "Sync" });
  const { client } = await people.join("ben", ann.id, { store: memoryStore(values) });
  const ben = client.open<Event>("event", ann.id, { onConflict: "ask" });
  await goOffline(client);
  ben.set("/title", "Ben's");
  await client.close();
  ann.set("/title", "Ann's");
  await ann.saved();

  const next = people.client("ben", { store: memoryStore(values) });
  const again = next.open<Event>("event", ann.id);
  const { conflicts } = await until(again, (now) => now.conflicts.length > 0);
  expect(conflicts).toMatchObject([{ kind: "refused", mine: "Ben's", theirs: "Ann's" }]);
  expect(ann.snapshot.view?.title).toBe("Ann's");

  await goOffline(next);
  again.resolve((conflicts[0] as Conflict).id, "mine");
  await next.close();
  const last = people.client("ben", { store: memoryStore(values) });
  const resolved = last.open<Event>("event", ann.id);
  await until(ann, (now) => now.view?.title === "Ben's");
  await until(resolved, (now) => now.pending === 0);
  expect(resolved.snapshot.conflicts).toEqual([]);
  await last.close();
  expect(values.get(`doc/event:${ann.id}`)).not.toHaveProperty("onConflict"); // for another it wasn't asked for
});

test("edits of a page that didn't ask aren't asked about once those of the page before are sent", async () => {
  const values = new Map<string, Json>();
  const { document: ann } = await people.event("ann", { title: "Sync" });
  const { client } = await people.join("ben", ann.id, { store: memoryStore(values) });
  const ben = client.open<Event>("event", ann.id, { onConflict: "ask" });
  await goOffline(client);
  ben.set("/location", "Room 1");
  await client.close();

  const next = people.client("ben", { store: memoryStore(values) });
  const again = next.open<Event>("event", ann.id);
  await until(ann, (now) => now.view?.location === "Room 1");
  await again.saved();
  await goOffline(next);
  again.set("/title", "Ben's");
  await again.stored();
  expect(values.get(`doc/event:${ann.id}`)).not.toHaveProperty("onConflict");
  ann.set("/title", "Ann's");
  await ann.saved();
  next.connect();
  const { conflicts } = await until(again, (now) => now.conflicts.length > 0);
  expect(conflicts).toMatchObject([{ kind: "overwrote", mine: "Ben's", theirs: "Ann's" }]);
  await until(ann, (now) => now.view?.title === "Ben's");
});

test.each(["merge", "ask"] as const)(
  "a merge that the server refuses leaves the choice (%s)",
  async (onConflict) => {
    const at = (hour: string) => `2026-11-30T${hour}:00:00Z`;
    const [start, mine, theirs] = [at("09"), at("10"), at("11")] as const;
    const { ann, ben, conflict, problems } = await meeting(
      { title: "Sync", start_time: start },
      (document) => document.set("/start_time", mine),
      (document) => document.set("/start_time", theirs),
      onConflict,
    );
    ben.resolve(conflict.id, { value: "tomorrow" });
    expect(ben.snapshot.conflicts).toEqual([]);
    await expect(ben.saved()).rejects.toMatchObject({ code: expect.any(String) });
    await until(ben, (now) => now.conflicts.length > 0);
    const problem = (problems[0] as Problem).message;
    expect(ben.snapshot.conflicts).toMatchObject([
      { id: conflict.id, path: "/start_time", mine, theirs, problem },
    ]);
    expect(problems).toMatchObject([{ code: "EDIT_REFUSED" }]);
    ben.resolve(conflict.id, "theirs");
    await ben.saved();
    expect(ben.snapshot.conflicts).toEqual([]);
    await until(ann, (now) => now.view?.start_time === theirs);
    expect(ben.snapshot.view?.start_time).toBe(theirs);
  },
);

/** Both changed the title and the start, Ben offline. */
async function twofold() {
  const both = (title: string, hour: string): PatchOperation[] => [
    { op: "replace", path: "/title", value: title },
    { op: "replace", path: "/start_time", value: `2026-11-30T${hour}:00:00Z` },
  ];
  const { conflicts, ...rest } = await meeting(
    { title: "Sync", start_time: "2026-11-30T09:00:00Z" },
    (ben) => ben.edit(both("Ben's", "10")),
    (ann) => ann.edit(both("Ann's", "11")),
  );
  return { ...rest, ids: conflicts.map(({ id }) => id) };
}

test("conflicts that are resolved together are written together, and come back where that is refused", async () => {
  const { ann, ben, ids } = await twofold();
  ben.resolve(ids, { value: "tomorrow" });
  expect(ben.snapshot.conflicts).toEqual([]);
  await expect(ben.saved()).rejects.toMatchObject({ code: expect.any(String) });
  const { conflicts, view } = await until(ben, (now) => now.conflicts.length > 0);
  expect(conflicts.map(({ id, problem }) => [id, !!problem])).toEqual(ids.map((id) => [id, true]));
  expect(view?.title).toBe("Ben's");
  const { version } = ann.snapshot;
  ben.resolve(ids, "theirs");
  await until(ann, (now) => now.view?.title === "Ann's");
  expect(ann.snapshot).toMatchObject({ version: version + 1, view: { start_time: "2026-11-30T11:00:00Z" } });
  expect(ben.snapshot.conflicts).toEqual([]);
});

test("conflicts that are resolved together stay where that can't be written, and say why", async () => {
  const { ann, ben, ids } = await twofold();
  await until(ann, (now) => now.view?.title === "Ben's");
  await ann.delete();
  await until(ben, (now) => now.isDeleted);
  ben.resolve(ids, "theirs");
  expect(ben.snapshot.conflicts.map(({ problem }) => !!problem)).toEqual([true, true]);
  ben.resolve(ids, "mine");
  expect(ben.snapshot.conflicts).toEqual([]);
});

test("conflicts of a list's items that are resolved together are each written in their own item", async () => {
  const { ann, ben, conflicts } = await meeting(
    { attendees },
    (document) => {
      document.remove("/attendees/0");
      document.set("/attendees/1/response_status", "DECLINED");
    },
    (document) => {
      document.set("/attendees/0/response_status", "ACCEPTED");
      document.set("/attendees/2/response_status", "TENTATIVE");
    },
  );
  expect(conflicts.map(({ theirs }) => theirs)).toEqual([person("ann", "ACCEPTED"), "TENTATIVE"]);
  ben.resolve(
    conflicts.map(({ id }) => id),
    "theirs",
  );
  await until(ann, (now) => now.view?.attendees?.length === 3);
  expect(ann.snapshot.view?.attendees).toEqual([
    person("ann", "ACCEPTED"),
    person("ben"),
    person("carol", "TENTATIVE"),
  ]);
});

test("a merge that the server refuses when its client is closed by then leaves the choice to the next", async () => {
  const at = (hour: string) => `2026-11-30T${hour}:00:00Z`;
  const values = new Map<string, Json>();
  const { ann, ben, conflict, client } = await meeting(
    { title: "Sync", start_time: at("09") },
    (document) => document.set("/start_time", at("10")),
    (document) => document.set("/start_time", at("11")),
    "merge",
    { store: memoryStore(values) },
  );
  await goOffline(client);
  ben.resolve(conflict.id, { value: "tomorrow" });
  ben.set("/location", "Room 1");
  await ben.stored();
  const left = new Map(structuredClone([...values]));
  const next = people.client("ben", { store: memoryStore(left), connect: false });
  const again = next.open<Event>("event", ann.id);
  await again.ready();
  expect(again.snapshot.conflicts).toEqual([]);
  next.connect();
  const { conflicts } = await until(again, (now) => now.conflicts.length > 0);
  expect(conflicts).toMatchObject([{ id: conflict.id, mine: at("10"), theirs: at("11") }]);
  expect(conflicts[0]?.problem).toMatch(/./);
  again.resolve(conflict.id, "theirs");
  await until(again, (now) => now.pending === 0);
  expect(again.snapshot).toMatchObject({ conflicts: [], view: { start_time: at("11"), location: "Room 1" } });
});

test("a resolution that is committed is asked about no more, whatever is refused later", async () => {
  const { ben, conflict } = await clash("merge");
  ben.resolve(conflict.id, { value: "Both" });
  await ben.saved();
  ben.set("/title", "Later");
  ben.edit({ op: "add", path: "/start_time", value: "tomorrow" } as PatchOperation);
  await expect(ben.saved()).rejects.toMatchObject({ code: expect.any(String) });
  expect(ben.snapshot.conflicts).toEqual([]);
});

test("a resolution that waits, and is typed over, isn't asked about again for what is refused elsewhere", async () => {
  const { ben, conflict } = await clash("merge");
  ben.edit({ op: "add", path: "/start_time", value: "tomorrow" } as PatchOperation);
  ben.resolve(conflict.id, { value: "Both" });
  ben.set("/title", "Both, and more");
  await expect(ben.saved()).rejects.toMatchObject({ code: expect.any(String) });
  expect(ben.snapshot.conflicts).toEqual([]);
  await until(ben, (now) => now.pending === 0);
  expect(ben.snapshot).toMatchObject({ conflicts: [], view: { title: "Both, and more" } });
});

/** Of three edits that Ben makes offline the second comes to end before the start that Ann sets, who writes a title too. */
const refusedOne = (onConflict: "merge" | "ask") => {
  const at = (hour: string) => `2026-11-30T${hour}:00:00Z`;
  return meeting(
    { title: "Sync", start_time: at("09"), end_time: at("11") } as Event,
    (document) => {
      document.set("/title", "Ben's");
      document.set("/end_time", at("10"));
      document.set("/location", "Room 1");
    },
    (document) => {
      document.set("/title", "Ann's");
      document.edit([
        { op: "replace", path: "/start_time", value: at("12") },
        { op: "replace", path: "/end_time", value: at("13") },
      ]);
      document.set("/end_time", at("14"));
    },
    onConflict,
  );
};

test("what takes the place of what others wrote is told where it goes again without an edit that is refused", async () => {
  const { ann, ben, conflicts, problems } = await refusedOne("merge");
  const found = conflicts.find(({ path }) => path === "/title");
  expect(found).toMatchObject({ kind: "overwrote", base: "Sync", mine: "Ben's" });
  expect(found).toMatchObject({ theirs: "Ann's", userId: "ann", version: 2 });
  await until(ben, (now) => now.pending === 0);
  expect(problems).toMatchObject([{ code: "EDIT_REFUSED", operations: [{ path: "/end_time" }] }]);
  expect(ben.snapshot.conflicts.map(({ path }) => path)).toEqual(["/title"]); // the other was refused
  ben.resolve(found?.id as string, "theirs");
  await until(ann, (now) => now.view?.title === "Ann's" && now.view.location === "Room 1");
  expect(ann.snapshot.view).toMatchObject({ end_time: "2026-11-30T14:00:00Z" });
});

test("asked, what goes again without an edit that is refused waits for the answer", async () => {
  const { ann, ben, conflicts } = await refusedOne("ask");
  const found = conflicts.find(({ path }) => path === "/title");
  expect(found).toMatchObject({ kind: "refused", mine: "Ben's", theirs: "Ann's" });
  expect(ann.snapshot.view?.title).toBe("Ann's");
  ben.resolve(
    conflicts.map(({ id }) => id),
    "theirs",
  );
  await until(ben, (now) => now.pending === 0);
  await until(ann, (now) => now.view?.title === "Ann's" && now.view.location === "Room 1");
  expect(ben.snapshot).toMatchObject({ conflicts: [], view: { end_time: "2026-11-30T14:00:00Z" } });
});

test("of a list, what goes again is told in its own item, and what both are in isn't", async () => {
  const at = (hour: string) => `2026-11-30T${hour}:00:00Z`;
  const { ben, conflicts } = await meeting(
    { attendees, tags: [], start_time: at("09"), end_time: at("11") } as Event,
    (document) => {
      document.remove("/attendees/0");
      document.set("/attendees/1/response_status", "DECLINED");
      document.edit({ op: "add", path: "/tags/-", value: "ben" });
      document.set("/end_time", at("10"));
    },
    (document) => {
      document.set("/attendees/0/response_status", "ACCEPTED");
      document.set("/attendees/2/response_status", "TENTATIVE");
      document.edit({ op: "add", path: "/attendees/-", value: person("dora") });
      document.edit({ op: "add", path: "/tags/-", value: "ann" });
      document.edit([
        { op: "replace", path: "/start_time", value: at("12") },
        { op: "replace", path: "/end_time", value: at("10") },
        { op: "replace", path: "/end_time", value: at("13") },
      ]);
    },
  );
  await until(ben, (now) => now.pending === 0);
  expect(conflicts).toMatchObject([
    { path: "/attendees/0", mine: undefined, theirs: person("ann", "ACCEPTED"), place: "gap" },
    { path: "/attendees/1/response_status", mine: "DECLINED", theirs: "TENTATIVE" },
    { path: "/end_time" },
  ]);
  ben.resolve(
    ben.snapshot.conflicts.map(({ id }) => id),
    "theirs",
  );
  await ben.saved();
  expect(ben.snapshot.view?.attendees).toEqual([
    person("ann", "ACCEPTED"),
    person("ben"),
    person("carol", "TENTATIVE"),
    person("dora"),
  ]);
  expect(ben.snapshot.view?.tags?.length).toBe(2);
});

test("what merges is no conflict", async () => {
  const { document: ann } = await people.event("ann", {
    title: "Sync",
    description: "Bring cake.",
    tags: [],
  });
  const { client, document: ben } = await people.join("ben", ann.id);
  await goOffline(client);
  ben.setText("/description", "Bring cake and tea.");
  ben.edit({ op: "add", path: "/tags/-", value: "ben" });
  ben.set("/location", "Room 1");
  ann.setText("/description", "Please bring cake.");
  ann.edit({ op: "add", path: "/tags/-", value: "ann" });
  ann.set("/title", "Stand-up");
  await ann.saved();
  client.connect();
  await ben.saved();
  expect(ben.snapshot.conflicts).toEqual([]);
  expect(ben.snapshot.view).toMatchObject({ title: "Stand-up", description: "Please bring cake and tea." });
});

test.each(["merge", "ask"] as const)(
  "what was made in an item that is gone is written in no other (%s)",
  async (onConflict) => {
    const { ann, ben, conflict } = await meeting(
      { attendees },
      (document) => document.set("/attendees/1/response_status", "ACCEPTED"),
      (document) => document.remove("/attendees/1"),
      onConflict,
    );
    expect(conflict).toMatchObject({ mine: "ACCEPTED", theirs: undefined });
    ben.resolve(conflict.id, "mine");
    await ben.saved();
    expect(ben.snapshot.view?.attendees).toEqual([person("ann"), person("carol")]);
    expect(ben.snapshot.conflicts).toMatchObject([{ id: conflict.id, kind: "dropped", problem: GONE }]);
    ben.resolve(conflict.id, "theirs");
    expect(ben.snapshot.conflicts).toEqual([]);
    expect(ann.snapshot.view?.attendees).toEqual([person("ann"), person("carol")]);
  },
);

test.each(["merge", "ask"] as const)(
  "of what was typed into a text that was replaced, mine is the text (%s)",
  async (onConflict) => {
    const { ann, ben, conflict } = await meeting(
      { title: "Sync" },
      (document) => document.setText("/title", "Sync, and tea"),
      (document) => document.set("/title", "Lunch"),
      onConflict,
    );
    expect(conflict).toMatchObject({ base: "Sync", mine: "Sync, and tea", theirs: "Lunch" });
    ben.resolve(conflict.id, "mine");
    await until(ann, (now) => now.view?.title === "Sync, and tea");
    await ben.saved();
    expect(ben.snapshot).toMatchObject({ conflicts: [], view: { title: "Sync, and tea" } });
  },
);

test("a conflict's path goes along with its item, and is told to be lost with it", async () => {
  const { ann, ben, conflict } = await meeting(
    { attendees },
    (document) => document.set("/attendees/1/response_status", "ACCEPTED"),
    (document) => document.set("/attendees/1/response_status", "DECLINED"),
  );
  expect(conflict).toMatchObject({ kind: "overwrote", path: "/attendees/1/response_status" });
  ann.remove("/attendees/0");
  await until(ben, (now) => now.conflicts[0]?.path === "/attendees/0/response_status");
  ann.remove("/attendees/0");
  await until(ben, (now) => now.view?.attendees?.length === 1);
  ben.resolve(conflict.id, "theirs");
  expect(ben.snapshot.conflicts).toMatchObject([{ id: conflict.id, problem: GONE }]);
  expect(ben.snapshot.view?.attendees).toEqual([person("carol")]);
});

test.each(["merge", "ask"] as const)(
  "a conflict's path goes along with what its author did after it, in the same patch (%s)",
  async (onConflict) => {
    const { ann, ben, conflict } = await meeting(
      { attendees },
      (document) => {
        document.set("/attendees/1/response_status", "ACCEPTED");
        document.remove("/attendees/0");
      },
      (document) => document.set("/attendees/1", person("ben", "DECLINED")),
      onConflict,
    );
    expect(conflict).toMatchObject({ path: "/attendees/0/response_status", mine: "ACCEPTED" });
    ben.resolve(conflict.id, "mine");
    await ben.saved();
    await until(ann, (now) => now.view?.attendees?.[0]?.response_status === "ACCEPTED");
    expect(ann.snapshot.view?.attendees).toEqual([person("ben", "ACCEPTED"), person("carol")]);
  },
);

test("a conflict is about the operation that the server names, not about a later one at the same path", async () => {
  const { ann, ben, conflict } = await meeting(
    { attendees },
    (document) => {
      document.set("/attendees/1/response_status", "ACCEPTED");
      document.remove("/attendees/0");
      document.set("/attendees/1/response_status", "TENTATIVE");
    },
    (document) => document.set("/attendees/1/response_status", "DECLINED"),
  );
  expect(conflict).toMatchObject({
    kind: "overwrote",
    path: "/attendees/0/response_status",
    mine: "ACCEPTED",
  });
  ben.resolve(conflict.id, "theirs");
  await ben.saved();
  await until(ann, (now) => now.view?.attendees?.[0]?.response_status === "DECLINED");
  expect(ann.snapshot.view?.attendees).toEqual([person("ben", "DECLINED"), person("carol", "TENTATIVE")]);
});

test("where nobody can say which item an edit was dropped from, mine is written in none", async () => {
  const { ben, conflict } = await meeting(
    { title: "Sync", attendees },
    (document) => {
      document.set("/attendees/1/response_status", "ACCEPTED");
      document.set("/title", "Lunch"); // comes to nothing, and is no conflict
      document.remove("/attendees/0");
    },
    (document) => {
      document.set("/attendees/1", person("ben", "DECLINED"));
      document.set("/title", "Lunch");
    },
  );
  expect(conflict).toMatchObject({ kind: "dropped", mine: "ACCEPTED" });
  ben.resolve(conflict.id, "mine");
  expect(ben.snapshot.conflicts).toMatchObject([{ id: conflict.id, problem: GONE }]);
  expect(ben.snapshot.view?.attendees).toEqual([person("ben", "DECLINED"), person("carol")]);
});

test("theirs of an item that one removed is put where it was, over nobody", async () => {
  const { ann, ben, conflict } = await meeting(
    { attendees },
    (document) => {
      document.remove("/attendees/1");
      document.remove("/attendees/0");
    },
    (document) => document.set("/attendees/1/response_status", "DECLINED"),
  );
  expect(conflict).toMatchObject({
    path: "/attendees/0",
    mine: undefined,
    theirs: person("ben", "DECLINED"),
  });
  ben.resolve(conflict.id, "theirs");
  await until(ann, (now) => now.view?.attendees?.length === 2);
  expect(ann.snapshot.view?.attendees).toEqual([person("ben", "DECLINED"), person("carol")]);
});

test.each([
  ["one", ["ann", "carol", "dan"], ["ann", "ben", "carol", "dan"]],
  ["several", ["carol"], ["ben", "carol"]],
])("theirs of %s that went with a new array is put where it was, over nobody", async (_name, mine, both) => {
  const { ann, ben, conflict } = await meeting(
    { attendees: [...attendees, person("dan")] },
    (document) =>
      document.set(
        "/attendees",
        mine.map((user) => person(user)),
      ),
    (document) => document.set("/attendees/1/response_status", "DECLINED"),
    "merge",
    { schemas: { event: {} } }, // so the gateway alone says what the new array is
  );
  expect(conflict).toMatchObject({ mine: undefined, theirs: person("ben", "DECLINED") });
  ben.resolve(conflict.id, "theirs");
  await until(ann, (now) => now.view?.attendees?.length === both.length);
  expect(ann.snapshot.view?.attendees).toEqual(
    both.map((user) => person(user, user === "ben" ? "DECLINED" : undefined)),
  );
});

test("asked, theirs takes back only what is in conflict", async () => {
  const { ann, ben, conflict } = await meeting(
    { title: "Sync" },
    (document) => {
      document.set("/title", "Ben's");
      document.set("/location", "Room 1");
    },
    (document) => document.set("/title", "Ann's"),
    "ask",
  );
  ben.resolve(conflict.id, "theirs");
  await ben.saved();
  await until(ann, (now) => now.view?.location === "Room 1" && now.view.title === "Ann's");
  expect(ben.snapshot).toMatchObject({ conflicts: [], view: { title: "Ann's", location: "Room 1" } });
});

describe("what was typed, and waits for another letter, while somebody else writes there", () => {
  /** Ben types two letters, of which the second waits for an hour; Ann writes, and Ben hears of it and goes on. */
  async function typing(
    value: Event,
    path: string,
    write: (ann: SharedDocument<Event>) => void,
    onConflict: "merge" | "ask" = "merge",
  ) {
    const { document: ann } = await people.event("ann", value);
    const options = { typingIntervalMs: 3_600_000, environment: { now: () => 0 } };
    const { client } = await people.join("ben", ann.id, options);
    const ben = client.open<Event>("event", ann.id, { onConflict });
    ben.set(path, "l");
    await ben.saved();
    await until(ann, (now) => now.version === ben.snapshot.version); // else she writes beside the "l"
    ben.set(path, "lu");
    write(ann);
    const { version } = await until(ann, (now) => now.pending === 0);
    await until(ben, (now) => now.version === version);
    ben.set("/location", "Room 1");
    const { conflicts } = await until(ben, (now) => now.conflicts.length > 0);
    return { ann, ben, conflicts };
  }

  test("takes the place of what that is, which is told, and what is edited next goes at once", async () => {
    const { ann, conflicts } = await typing({ title: "" }, "/title", (ann) => ann.set("/title", "Ann's"));
    expect(conflicts).toMatchObject([
      { kind: "overwrote", path: "/title", base: "l", mine: "lu", theirs: "Ann's" },
    ]);
    await until(ann, (now) => now.view?.title === "lu" && now.view.location === "Room 1");
  });

  test.each<[string, PatchOperation, object]>([
    [
      "as another document",
      { op: "replace", path: "", value: { title: "Ann's" } },
      { kind: "dropped", theirs: "Ann's" },
    ],
    [
      "as a text",
      { op: "text", path: "/title", value: ["Ann's "] },
      { kind: "overwrote", theirs: "Ann's l" },
    ],
  ])("is told, %s", async (_, written, told) => {
    const { conflicts } = await typing({ title: "" }, "/title", (ann) => ann.edit(written));
    expect(conflicts).toMatchObject([{ path: "/title", base: "l", mine: "lu", ...told }]);
  });

  test("is asked about, where the user wants that", async () => {
    const write = (ann: SharedDocument<Event>) => ann.set("/title", "Ann's");
    const { ann, ben, conflicts } = await typing({ title: "" }, "/title", write, "ask");
    expect(conflicts).toMatchObject([{ kind: "refused", path: "/title", mine: "lu", theirs: "Ann's" }]);
    ben.resolve(conflicts[0]?.id ?? "", "theirs");
    await until(ann, (now) => now.view?.location === "Room 1");
    expect(ann.snapshot.view?.title).toBe("Ann's");
  });

  test("and is gone with an item that is removed, is told", async () => {
    const value = { attendees: [...attendees.slice(0, 1), { ...person("ben"), note: "" }] };
    const { ben, conflicts } = await typing(value, "/attendees/1/note", (ann) => ann.remove("/attendees/1"));
    expect(conflicts).toMatchObject([{ kind: "dropped", path: "/attendees/1/note", base: "l", mine: "lu" }]);
    expect(ben.snapshot.view).toEqual({ attendees: attendees.slice(0, 1), location: "Room 1" });
  });
});

test("what waits to be sent when somebody deletes the document is told, and brings it back", async () => {
  const { document: ann } = await people.event("ann", { title: "Sync", description: "" });
  const { document: ben } = await people.join("ben", ann.id, { typingIntervalMs: 3_600_000 });
  ben.setText("/description", "F");
  await ben.saved();
  ben.setText("/description", "Fish"); // goes with the next letter, an hour later
  await ann.delete();
  const { conflicts, view } = await until(ben, (now) => now.conflicts.length > 0);
  expect(view).toBe(null);
  const [conflict] = conflicts as [Conflict];
  expect(conflict).toMatchObject({ kind: "merged", path: "", theirs: null, base: { description: "F" } });
  ben.resolve(conflict.id, "mine");
  await until(ann, (now) => now.view?.description === "Fish");
  expect(ann.snapshot.view).toEqual({ title: "Sync", description: "Fish" });
});
