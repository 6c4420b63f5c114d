/** Clients on a real gateway, together. */

import { type Client, type ClientOptions, createClient } from "@collab/client";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Gateway } from "./support/gateway.js";
import { until } from "./support/until.js";

interface Event {
  title?: string;
  description?: string;
}

let gateway: Gateway;
let count = 0;
const clients: Client[] = [];

beforeAll(async () => {
  gateway = await Gateway.start();
});
afterAll(() => gateway.close());
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
});

const newId = () => `together-${++count}`;

function clientOf(user: string, options: Partial<ClientOptions> = {}): Client {
  const client = createClient({
    url: gateway.url,
    getToken: () => gateway.token(user),
    userId: user,
    ...options,
  });
  clients.push(client);
  return client;
}

test("two clients see each other's edits at once", async () => {
  const id = newId();
  const ann = clientOf("ann").open<Event>("event", id);
  await ann.ready();
  expect(ann.snapshot).toMatchObject({ view: null, version: 0, isDeleted: true, role: "admin" });
  ann.create({ title: "Sync", description: "" });
  expect(ann.snapshot.view).toEqual({ title: "Sync", description: "" });
  await ann.saved();
  const ben = clientOf("ben").open<Event>("event", id);
  await ben.ready();
  expect(ben.snapshot.view?.title).toBe("Sync");
  ben.set("/title", "Stand-up");
  await until(ann, (now) => now.view?.title === "Stand-up");
});

test("typing of two merges, and carets are carried", async () => {
  const id = newId();
  const ann = clientOf("ann").open<Event>("event", id);
  await ann.ready();
  ann.create({ description: "Bring cake." });
  await ann.saved();
  const ben = clientOf("ben").open<Event>("event", id);
  await ben.ready();
  let caret = "Bring cake".length;
  ben.onChange((change) => {
    caret = change.carry("/description", caret) ?? 0;
  });
  ann.setText("/description", "Please bring cake.");
  ben.setText("/description", "Bring cake and tea.");
  await Promise.all([ann.saved(), ben.saved()]);
  const merged = "Please bring cake and tea.";
  await until(ann, (now) => now.view?.description === merged);
  await until(ben, (now) => now.view?.description === merged);
  expect(caret).toBe("Please bring cake and tea".length);
});
