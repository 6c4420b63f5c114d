/** A browser that clears what a site has stored, while a page of it is open. */

import "fake-indexeddb/auto";
import type { Problem } from "@collab/client";
import { expect, test } from "vitest";
import { People } from "../support/people.js";
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
