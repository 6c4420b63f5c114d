/** Parts of the client that are loaded when they are needed. */

import { type Environment, type Json, type Locks, memoryStore } from "@collab/client";
import { afterEach, expect, test, vi } from "vitest";
import { FakePlatform } from "./support/fake.js";
import { problemsOf } from "./support/problems.js";

type Given = Pick<Partial<Environment>, "locks" | "channel">;

const WAIT_MS = 100_000;
const NETWORK_ERROR = new TypeError("Failed to fetch dynamically imported module");

afterEach(() => {
  vi.doUnmock("../src/tabs/tabs.js");
  vi.doUnmock("../src/http.js");
  vi.doUnmock("../src/listings.js");
  vi.resetModules();
});

/** A lock that another tab holds. */
const held: Locks["acquire"] = (_, { signal }) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
/** A lock that is free. */
const free: Locks["acquire"] = async () => () => {};
const steal = () => new Promise<never>(() => {});
const channel = () => ({ onmessage: null, post: () => {}, close: () => {} });

/** A client in one of several tabs of a browser. */
async function opened(platform: FakePlatform, values = new Map<string, Json>(), given: Given = {}) {
  vi.resetModules();
  const { createClient } = await import("@collab/client");
  const store = { ...memoryStore(values), name: "shared" };
  const environment = { ...platform.environment(), locks: { acquire: held, steal }, channel, ...given };
  return createClient({ url: "ws://gateway/realtime", getToken: () => "token", store, environment });
}

const failing = (error: Error) => () => {
  throw error;
};
const DENIED = new DOMException("Denied", "SecurityError");

test.each<[string, (() => never) | null, Given]>([
  ["the part for tabs can't be loaded", failing(NETWORK_ERROR), {}],
  ["the browser refuses locks", null, { locks: { acquire: () => Promise.reject(DENIED), steal } }],
  ["the browser refuses the channel", null, { locks: { acquire: free, steal }, channel: failing(DENIED) }],
])(
  "where %s, nothing shared is touched, edits go out, and who listens soon is told",
  async (_, part, given) => {
    if (part) vi.doMock("../src/tabs/tabs.js", part);
    const platform = new FakePlatform();
    const values = new Map<string, Json>();
    const client = await opened(platform, values, given);
    const document = client.open("event", "1");
    const early = client.open("event", "2");
    early.create({ title: "Early" });
    await vi.waitFor(() => expect(platform.sockets).toHaveLength(1), WAIT_MS);
    const problems = problemsOf(client);
    await expect(early.stored()).rejects.toMatchObject({ name: "StoreFullError" });
    expect(client.sync.snapshot).toEqual({ state: "unsaved", pending: 1, isStored: false });
    platform.socket.admit();
    await vi.waitFor(() => expect(platform.socket.last("SUBSCRIBE")).toBeDefined(), WAIT_MS);
    const state = { title: "Sync" };
    const acknowledged = { resource: "event", resource_id: "1", version: 1, epoch: 1, role: "editor", state };
    platform.socket.tell("SUBSCRIBE_ACK", acknowledged);
    await document.ready();
    document.set("/title", "Mine");
    await vi.waitFor(() => expect(platform.socket.last("OP")).toBeDefined(), WAIT_MS);
    await vi.waitFor(() => expect(problems.map(({ code }) => code)).toEqual(["STORE_UNAVAILABLE"]), WAIT_MS);
    expect([...values]).toEqual([]);
    await client.close();
  },
);

test("where what was kept can't be brought together with what was made before, it is set aside, and edits go on", async () => {
  const values = new Map<string, Json>();
  const started = async () => {
    const { createClient } = await import("@collab/client");
    const environment = new FakePlatform().environment();
    const store = memoryStore(values);
    const client = createClient({
      url: "ws://gateway/realtime",
      getToken: () => "",
      store,
      environment,
      connect: false,
    });
    const problems = problemsOf(client);
    const document = client.open("event", "1");
    document.create({ title: "Made" });
    await document.stored();
    return { client, document, problems };
  };
  const { client: before } = await started();
  await before.close();
  const kept = structuredClone(values.get("doc/event:1"));
  vi.resetModules();
  vi.doMock("../src/tabs/tabs.js", () => {
    throw NETWORK_ERROR;
  });
  const { client, document, problems } = await started();
  document.set("/title", "Mine");
  await document.stored();
  await client.close();
  expect(problems.map(({ code }) => code)).toEqual(["STORE_UNAVAILABLE"]);
  expect(values.get("corrupt/event:1")).toEqual(kept);
  expect(JSON.stringify(values.get("doc/event:1"))).toContain("Mine");
});

test("a part that failed to load is loaded at the next try", async () => {
  vi.doMock("../src/http.js", () => {
    throw NETWORK_ERROR;
  });
  const platform = new FakePlatform();
  platform.answer = () => ({ status: 200, body: { items: [] } });
  const client = await opened(platform);
  await expect(client.list("event")).rejects.toThrow();
  vi.doUnmock("../src/http.js");
  vi.resetModules();
  await expect(client.list("event")).resolves.toEqual({ items: [], next: null });
  await client.close();
});

const CALENDAR = { resource: "calendar", resource_id: "team", children: true };

test("where the part for calendars can't be loaded, that is told, and the next connection shows them", async () => {
  vi.doMock("../src/listings.js", failing(NETWORK_ERROR));
  const platform = new FakePlatform();
  const client = await opened(platform, new Map(), { locks: null });
  const problems = problemsOf(client);
  await vi.waitFor(() => expect(platform.sockets).toHaveLength(1), WAIT_MS);
  platform.socket.admit({ features: ["children"] });
  const calendar = client.calendar("team");
  await vi.waitFor(() => expect(problems).toMatchObject([{ code: "ERROR", id: "team" }]), WAIT_MS);
  expect(calendar.snapshot.status).toBe("loading");
  vi.doUnmock("../src/listings.js");
  vi.resetModules();
  client.disconnect();
  client.connect();
  await vi.waitFor(() => expect(platform.sockets).toHaveLength(2), WAIT_MS);
  platform.socket.admit({ features: ["children"] });
  await vi.waitFor(() => expect(platform.socket.last("SUBSCRIBE")?.payload).toEqual(CALENDAR), WAIT_MS);
  platform.socket.tell("CHILDREN", { ...CALENDAR, items: [] });
  await vi.waitFor(() => expect(calendar.snapshot.status).toBe("ready"), WAIT_MS);
  await client.close();
});

test("a calendar that is closed before the part for calendars is there isn't asked for", async () => {
  const platform = new FakePlatform();
  const client = await opened(platform, new Map(), { locks: null });
  await vi.waitFor(() => expect(platform.sockets).toHaveLength(1), WAIT_MS);
  platform.socket.admit({ features: ["children"] });
  client.calendar("closed").close();
  const calendar = client.calendar("team");
  await vi.waitFor(() => expect(platform.socket.last("SUBSCRIBE")).toBeDefined(), WAIT_MS);
  calendar.close();
  const asked = platform.socket.sent.filter(({ payload }) => payload.children);
  expect(asked.map(({ type, payload }) => [type, payload.resource_id])).toEqual([
    ["SUBSCRIBE", "team"],
    ["UNSUBSCRIBE", "team"],
  ]);
  await client.close();
});
