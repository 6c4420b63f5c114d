/** HTTP beside the socket, on a real gateway: polling while real time is switched off, and the past. */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createClient, type HistoryQuery } from "@collab/client";
import { expect, test, vi } from "vitest";
import { People } from "./support/people.js";
import { problemsOf } from "./support/problems.js";
import { until } from "./support/until.js";

const people = new People();

test("while real time is switched off edits come and go over HTTP, and then by socket again", async () => {
  const isPause = (ms: number) => ms === 1_000 || ms >= 30_000; // of polling; how long one waits for answers stays
  const environment = {
    setTimeout: (callback: () => void, ms: number) => setTimeout(callback, isPause(ms) ? ms / 50 : ms),
    clearTimeout: (timer: unknown) => clearTimeout(timer as NodeJS.Timeout),
  };
  const { client, document: ann } = await people.event("ann", { title: "Sync" }, { environment });
  const { client: other, document: ben } = await people.join("ben", ann.id, { environment });
  // Not by the kill switch, which refuses writes over HTTP too.
  people.gateway.configure("[features]\nrollout_percentage = 0\n");
  for (const { connection } of [client, other])
    await until(connection, (now) => now.state === "polling" && now.reason !== "lost");
  ann.set("/title", "By HTTP");
  expect(client.sync.snapshot.state).toBe("saving");
  await ann.saved();
  await until(ben, (now) => now.view?.title === "By HTTP");
  ben.setText("/description", "also by HTTP");
  await ben.saved();
  await until(ann, (now) => now.view?.description === "also by HTTP");
  people.gateway.configure("");
  await until(client.connection, (now) => now.state === "online");
  await until(ann, (now) => now.isLive);
  ann.set("/location", "Room 1");
  await ann.saved();
  await until(ben, (now) => now.view?.location === "Room 1");
});

test("an id that can't be one is refused over HTTP as by socket", async () => {
  people.gateway.configure("[features]\nrollout_percentage = 0\n");
  const client = people.client("ann");
  const problems = problemsOf(client);
  const mangled = client.open("event", "no)id");
  const calendar = client.calendar("no)id");
  await until(client.connection, (now) => now.state === "polling");
  await until(mangled, (now) => now.status === "forbidden");
  await until(calendar, (now) => now.status === "forbidden");
  expect(problems).toMatchObject([{ code: "ERROR", id: mangled.id, refusal: { code: "INVALID_MESSAGE" } }]);
  people.gateway.configure("");
});

test("the past can be read, searched by who and when, and brought back", async () => {
  const { document: ann } = await people.event("ann", { title: "0" });
  const { document: ben } = await people.join("ben", ann.id);
  for (let edit = 1; edit <= 12; edit++) {
    const author = edit % 3 ? ann : ben;
    await until(author, (now) => now.version === edit);
    author.set("/title", String(edit));
    await author.saved();
  }
  await until(ann, (now) => now.version === 13);
  const first = await ann.history({ limit: 5 });
  expect(first.entries.map((entry) => entry.version)).toEqual([13, 12, 11, 10, 9]);
  expect(first.entries[0]).toMatchObject({
    userId: "ben",
    operations: [{ op: "replace", path: "/title", value: "12" }],
    undoes: null,
    summary: null,
  });
  const [told] = (await ann.history({ limit: 1, inWords: true })).entries;
  expect(told?.summary).toContain("12");
  const second = await ann.history({ limit: 100, before: first.next ?? 0 });
  expect(second.entries.map((entry) => entry.version)).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
  expect(second.next).toBeNull();
  const bens = await ann.history({ userId: "ben", limit: 3 });
  expect(bens.entries.map((entry) => entry.version)).toEqual([13, 10, 7]);
  expect((await ann.history({ userId: "ben", limit: 3, before: bens.next ?? 0 })).entries).toHaveLength(1);

  expect(await ann.at(5)).toEqual({ version: 5, document: { title: "4" } });
  expect((await ann.at(new Date(first.entries[0]?.timestamp ?? 0))).version).toBe(13);
  await ann.restore(5);
  await ann.saved();
  await until(ben, (now) => now.view?.title === "4");
  ann.undo();
  await until(ben, (now) => now.view?.title === "12");
});

test("what isn't loaded yet can't be brought back, as it can't be edited", async () => {
  const { document: ann } = await people.event("ann");
  const unread = people.client("ben", { connect: false }).open("event", ann.id);
  await expect(unread.restore(1)).rejects.toMatchObject({ name: "EditError", code: "NOT_READY" });
});

test("a version that isn't there yet can't be brought back: it isn't one without a document", async () => {
  const { document: ann } = await people.event("ann", { title: "Sync" });
  expect(await ann.at(0)).toEqual({ version: 0, document: null });
  const ahead = { name: "RequestError", code: "VERSION_AHEAD", status: 404 };
  await expect(ann.at(2)).rejects.toMatchObject(ahead);
  await expect(ann.restore(2)).rejects.toMatchObject(ahead);
  await ann.saved();
  expect(ann.snapshot).toMatchObject({ view: { title: "Sync" }, version: 1 });
});

test("a history whose beginning isn't kept is told from there on", async () => {
  const { client, document } = await people.event("ann", { title: "0" });
  for (let edit = 1; edit <= 12; edit++) {
    document.set("/title", String(edit));
    await document.saved();
  }
  await client.close();
  await people.gateway.trim(`event:${document.id}`, 8);
  const { document: ben } = await people.join("ben", document.id);
  const all = { versions: [13, 12, 11, 10, 9], next: null };
  const told = async (query: HistoryQuery) => {
    const { entries, next } = await ben.history(query);
    return { versions: entries.map(({ version }) => version), next };
  };
  expect(await told({})).toEqual(all);
  expect(await told({ inWords: true })).toEqual(all);
  expect(await told({ userId: "ann" })).toEqual(all);
  expect(await told({ joinTyping: true })).toEqual({ versions: [13], next: null });
  expect(await told({ limit: 3 })).toEqual({ versions: [13, 12, 11], next: 11 });
  expect(await told({ limit: 3, before: 11 })).toEqual({ versions: [10, 9], next: null });
  expect(await told({ before: 9 })).toEqual({ versions: [], next: null });
  expect(await told({ from: 3 })).toEqual(all);
});

test("of a long history no more is read than what is not too old", async () => {
  const asked: URLSearchParams[] = [];
  const get: typeof fetch = async (...request) => {
    const { pathname, searchParams } = new URL(String(request[0]));
    if (pathname.endsWith("/history")) asked.push(searchParams);
    return fetch(...request);
  };
  const { document } = await people.event("ann", { title: "0" }, { environment: { fetch: get } });
  const newest = async () => (await document.history({ limit: 1 })).entries[0]?.timestamp ?? 0;
  for (let edit = 1; edit <= 505; edit++) {
    // The last one is of a millisecond of its own.
    if (edit === 505) await vi.waitUntil(async () => Date.now() > (await newest()), 100_000);
    document.set("/tags", [String(edit)]);
    await document.saved();
  }
  const since = new Date(await newest());
  for (const [query, versions] of [
    [{ since }, [506]],
    [{ since, userId: "ann" }, [506]],
    [{ since, userId: "ben" }, []],
    [{ since: new Date(since.getTime() + 60_000) }, []],
  ] as const) {
    asked.length = 0;
    const { entries, next } = await document.history(query);
    expect({ versions: entries.map(({ version }) => version), next }).toEqual({ versions, next: null });
    expect(asked.map((one) => [one.get("from"), one.get("before")])).toEqual([
      ["7", "507"],
      ["7", "8"],
    ]);
  }
  const { entries, next } = await document.history({ since: new Date(0), limit: 600 });
  expect([entries.length, next]).toEqual([506, null]);
});

test("what somebody typed in one go is one entry of the history", async () => {
  const { document: ann } = await people.event("ann", { title: "Sync", description: "" });
  const { document: ben } = await people.join("ben", ann.id);
  const typed = async (document: typeof ann, text: string) => {
    for (const letter of text) {
      document.setText("/description", `${document.snapshot.view?.description}${letter}`);
      await document.saved();
    }
    await until(ben, ({ view }) => view?.description === document.snapshot.view?.description);
  };
  await typed(ann, "one");
  await typed(ben, "two");
  ben.set("/title", "Lunch");
  await ben.saved();
  await typed(ben, "end");
  ben.undo(); // that is an edit of the text as well
  await ben.saved();
  const { entries } = await ben.history({ joinTyping: true });
  expect(entries.map(({ userId, version, oldest }) => [userId, version, oldest])).toEqual([
    ["ben", 12, 9],
    ["ben", 8, 8],
    ["ben", 7, 5],
    ["ann", 4, 2],
    ["ann", 1, 1],
  ]);
  expect((await ben.history()).entries).toHaveLength(12);
  const first = await ben.history({ joinTyping: true, limit: 2 });
  expect(first.entries.map(({ version }) => version)).toEqual([12, 8]);
  const second = await ben.history({ joinTyping: true, limit: 2, before: first.next ?? 0 });
  expect(second.entries.map(({ version }) => version)).toEqual([7, 4]);
});

test("what was typed as one value, or as several together, is one entry of the history, and other fields aren't", async () => {
  const { document } = await people.event("ann", { title: "", location: "" });
  for (const title of ["L", "Lu", "Lun"]) {
    document.set("/title", title);
    await document.saved();
  }
  document.set("/location", "Room 1");
  await document.saved();
  for (const values of [["R"], ["Ro", "Roo"], ["Room"]]) {
    for (const value of values)
      document.edit(["/location", "/title"].map((path) => ({ op: "replace", path, value }) as const));
    await document.saved(); // those of the second line go together
  }
  const { entries } = await document.history({ joinTyping: true });
  expect(entries.map(({ operations }) => operations.map(({ path }) => path))).toEqual([
    ["/location", "/title"],
    ["/location"],
    ["/title"],
    [""],
  ]);
});

test("of one person's history what others replaced in between is not joined, and what they typed in between is", async () => {
  const { document: ann } = await people.event("ann", { title: "", description: "" });
  const { document: ben } = await people.join("ben", ann.id);
  const edits: [typeof ann, (of: typeof ann) => void][] = [
    [ann, (of) => of.set("/title", "Lunch")],
    [ben, (of) => of.set("/title", "Brunch")],
    [ann, (of) => of.set("/title", "Dinner")],
    [ann, (of) => of.set("/title", "Dinners")],
    [ann, (of) => of.setText("/description", "a")],
    [ben, (of) => of.setText("/description", "ab")],
    [ann, (of) => of.setText("/description", "abc")],
    [ann, (of) => of.setText("/title", "Dinners, late")],
    [ben, (of) => of.set("/title", "Brunch")],
    [ann, (of) => of.set("/title", "Supper")],
    [ann, (of) => of.setText("/title", "Supper a")],
    [ben, (of) => of.setText("/title", "Supper at")],
    [ann, (of) => of.setText("/title", "Supper at 8")],
    [ann, (of) => of.set("/title", "Party")],
  ];
  for (const [version, [author, edit]] of edits.entries()) {
    await until(author, (now) => now.version === version + 1);
    edit(author);
    await author.saved();
  }
  const { entries } = await ann.history({ userId: "ann", joinTyping: true });
  expect(entries.map(({ version, oldest }) => [version, oldest])).toEqual([
    [15, 14],
    [12, 11],
    [9, 9],
    [8, 6],
    [5, 4],
    [2, 2],
    [1, 1],
  ]);
});

test("a document that isn't there, and one that isn't granted, are told over HTTP as by socket", async () => {
  const client = people.client("ann", {}, { grants: { "event:mine": "viewer" } });
  const mine = client.open("event", "mine");
  await mine.ready();
  const other = client.open("event", "other");
  await expect(other.at(0)).rejects.toMatchObject({ code: "FORBIDDEN", status: 403 });
  expect(await mine.at(0)).toEqual({ version: 0, document: null });
});

test("that nobody answers is told in words for people, and why beside", async () => {
  const cause = new TypeError("Failed to fetch");
  const client = people.client("ann", {
    connect: false,
    environment: { fetch: () => Promise.reject(cause) },
  });
  const message = "The gateway can't be reached.";
  await expect(client.list("event")).rejects.toMatchObject({ message, cause });
});

test("an answer that ends within its body is none", async () => {
  const stalling = createServer((_, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.write('{"items": [');
  });
  await new Promise<void>((done) => stalling.listen(0, "127.0.0.1", done));
  const { port } = stalling.address() as AddressInfo;
  let giveUp = () => {};
  const begun: typeof fetch = async (...request) => {
    const answer = await fetch(...request);
    setTimeout(giveUp); // in the middle of its body
    return answer;
  };
  const held = (callback: () => void) => {
    giveUp = callback;
  };
  const client = createClient({
    url: `ws://127.0.0.1:${port}/realtime`,
    getToken: () => "token",
    connect: false,
    environment: { fetch: begun, setTimeout: held, clearTimeout: () => {} },
  });
  await expect(client.list("event")).rejects.toThrow("It wasn't the gateway that answered");
  await client.close();
  stalling.closeAllConnections();
  stalling.close();
});
