/** A browser that clears what a site has stored, while a page of it is open. */

import "fake-indexeddb/auto";
import type { Problem } from "@collab/client";
import { indexedDbStore } from "@collab/client/indexeddb";
import { forceCloseDatabase } from "fake-indexeddb";
import { expect, test, vi } from "vitest";
import { People } from "../support/people.js";
import { problemsOf } from "../support/problems.js";
import { goOffline, until } from "../support/until.js";

const people = new People();

test("who works offline is told at once that what was stored is gone, and what is open is stored again", async () => {
  const { document: ben } = await people.event("ben");
  const { client, document } = await people.join("ann", ben.id);
  await goOffline(client);
  document.set("/title", "From the train");
  await document.stored();
  const stored: boolean[] = [];
  document.subscribe(() => stored.push(document.snapshot.isStored));
  const problem = new Promise<Problem>((resolve) => client.onProblem(resolve));
  indexedDB.deleteDatabase(`collab ${people.gateway.url} ann`);
  expect(await problem).toMatchObject({ code: "STORE_CLEARED" });
  await document.stored();
  expect(stored).toEqual([false, true]);
  expect(client.sync.snapshot).toMatchObject({ state: "offline", pending: 1, isStored: true });
  await client.close();
  people.client("ann");
  await until(ben, (now) => now.view?.title === "From the train");
});

test("who had the site's data cleared goes by the same name on the next page", async () => {
  const { client, document } = await people.event("ann");
  const { clientId } = client;
  const cleared = new Promise<Problem>((resolve) => client.onProblem(resolve));
  indexedDB.deleteDatabase(`collab ${people.gateway.url} ann`);
  await cleared;
  await document.stored();
  await client.close();
  const { client: again } = await people.join("ann", document.id);
  expect(again.clientId).toBe(clientId);
});

test("the tab that leads is told that what was stored is gone, also where another had the store open before", async () => {
  const name = `cleared ${process.pid}`;
  const [following, leading] = [indexedDbStore(name), indexedDbStore(name)];
  await following.read(""); // as a tab that led before
  const { client, document } = await people.event("ann", { title: "Sync" }, { store: leading });
  const { client: other } = await people.join("ann", document.id, { store: following });
  const others = problemsOf(other);
  await document.stored();
  const problem = new Promise<Problem>((resolve) => client.onProblem(resolve));
  indexedDB.deleteDatabase(name);
  expect(await problem).toMatchObject({ code: "STORE_CLEARED" });
  await client.close();
  expect(others).toEqual([]);
});

test("where the browser only closed the connection to the store, nobody is told that what was stored is gone", async () => {
  const databases: IDBDatabase[] = [];
  const open: IDBFactory["open"] = (name, version) => {
    const request = indexedDB.open(name, version);
    request.addEventListener("success", () => databases.push(request.result));
    return request;
  };
  const factory = Object.create(indexedDB, { open: { value: open } }) as IDBFactory;
  const store = indexedDbStore(`closed ${process.pid}`, factory);
  const { client, document } = await people.event("ann", { title: "Sync" }, { store });
  const problems = problemsOf(client);
  await document.stored();
  forceCloseDatabase(databases[0] as never);
  await vi.waitFor(() => expect(databases).toHaveLength(2), 100_000); // the client has looked
  await client.close();
  expect(problems.map(({ code }) => code)).not.toContain("STORE_CLEARED");
});
