/** What the server tells of a calendar's events, with the clock in the test's hand. */

import { type Client, createClient, memoryStore } from "@collab/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakePlatform } from "./support/fake.js";
import { problemsOf } from "./support/problems.js";

const NAME = { resource: "calendar", resource_id: "team", resource_type: "calendar" };

let platform: FakePlatform;
let client: Client;

beforeEach(async () => {
  vi.useFakeTimers();
  platform = new FakePlatform();
  const environment = platform.environment();
  client = createClient({
    url: "ws://gateway/realtime",
    getToken: () => "token",
    store: memoryStore(),
    environment,
  });
  await vi.advanceTimersByTimeAsync(0);
  platform.socket.admit({ features: ["children"] });
});
afterEach(async () => {
  await client.close();
  vi.useRealTimers();
});

/** A calendar that the server was asked for. */
async function opened() {
  const calendar = client.calendar("team");
  await vi.advanceTimersByTimeAsync(0);
  return calendar;
}

const item = (id: string) => ({ resource: "event", resource_id: id, version: 1, title: id });
const subscriptions = () => platform.socket.sent.filter(({ type }) => type === "SUBSCRIBE");

test("where the rest of a long calendar can't be listed, it is asked for again, less and less often", async () => {
  platform.jitter = 1; // the longest that it can be
  const calendar = await opened();
  platform.socket.tell("CHILDREN", { ...NAME, items: [item("1")], next: "~1" });
  await vi.advanceTimersByTimeAsync(9_900);
  expect(calendar.snapshot.items.map(({ id }) => id)).toEqual(["1"]);
  expect(subscriptions()).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(100);
  expect(subscriptions()).toHaveLength(2);
  platform.socket.tell("CHILDREN", { ...NAME, items: [item("1")], next: "~1" });
  platform.socket.tell("PONG"); // the link isn't quiet
  await vi.advanceTimersByTimeAsync(19_900);
  expect(subscriptions()).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(100);
  expect(subscriptions()).toHaveLength(3);
  platform.answer = (_, url) => {
    expect(url.searchParams.get("after")).toBe("~1");
    return { status: 200, body: { items: [item("2")], next: null } };
  };
  platform.socket.tell("CHILDREN", { ...NAME, items: [item("1")], next: "~1" });
  await vi.advanceTimersByTimeAsync(0);
  expect(calendar.snapshot.items.map(({ id }) => id)).toEqual(["1", "2"]);
});

test.each([
  [null, 2],
  ["~1", 1],
])(
  "once the token is renewed a live calendar is asked for again, but for a long one",
  async (next, asked) => {
    platform.answer = () => ({ status: 200, body: { items: [item("2")], next: null } });
    const calendar = await opened();
    platform.socket.tell("CHILDREN", { ...NAME, items: [item("1")], next });
    await vi.advanceTimersByTimeAsync(0);
    const shown = calendar.snapshot;
    expect(shown).toMatchObject({ isLive: true });
    platform.socket.tell("AUTH_ACK", { user_id: "ann", limits: {}, features: ["children"] });
    await vi.advanceTimersByTimeAsync(0);
    expect(subscriptions()).toHaveLength(asked);
    expect(calendar.snapshot).toBe(shown);
  },
);

test.each(["", "team a", "x".repeat(129)])(
  "a calendar with the id %j, which is none, is told so",
  async (id) => {
    const calendar = client.calendar(id);
    await vi.advanceTimersByTimeAsync(0);
    expect(calendar.snapshot).toMatchObject({ status: "forbidden", items: [] });
    expect(subscriptions()).toEqual([]);
  },
);

test("where the rest of a long calendar is refused for good, that is told once", async () => {
  const problems = problemsOf(client);
  const calendar = await opened();
  platform.answer = () => ({ status: 400, body: { detail: "after must be what `next` has." } });
  platform.socket.tell("CHILDREN", { ...NAME, items: [item("1")], next: "~1" });
  await vi.advanceTimersByTimeAsync(20_000);
  expect(subscriptions()).toHaveLength(1);
  expect(calendar.snapshot.items).toHaveLength(1);
  expect(problems).toMatchObject([{ code: "ERROR", type: "calendar", id: "team" }]);
});

test("a calendar is in the order of its events' starts, wherever these are told; those without one come last", async () => {
  const calendar = await opened();
  const items = [
    { ...item("never") },
    { ...item("late"), start_time: "2026-01-02T01:00:00Z" },
    { ...item("early"), start_time: "2026-01-02T09:00:00+10:00" },
    { ...item("at the same time"), start_time: "2026-01-01T23:00:00Z" },
    { ...item("at no time"), start_time: "some day" },
  ];
  platform.socket.tell("CHILDREN", { ...NAME, items });
  const ids = calendar.snapshot.items.map(({ id }) => id);
  expect(ids).toEqual(["at the same time", "early", "late", "at no time", "never"]);
});

test.each(["UNAVAILABLE", "RATE_LIMITED", "TOO_LARGE"])(
  "after %s a calendar is asked for again",
  async (code) => {
    const calendar = await opened();
    platform.socket.tell("CHILDREN", { ...NAME, items: [item("1")] });
    platform.socket.tell("ERROR", { ...NAME, ref: "children", code, message: "no", retry_after_ms: 700 });
    expect(calendar.snapshot).toMatchObject({ status: "ready", items: [{ id: "1" }] });
    await vi.advanceTimersByTimeAsync(699);
    expect(subscriptions()).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(subscriptions()).toHaveLength(2);
  },
);

test("a calendar that isn't granted shows nothing, and isn't asked for again", async () => {
  const calendar = await opened();
  platform.socket.tell("ERROR", { ...NAME, ref: "children", code: "FORBIDDEN", message: "no" });
  expect(calendar.snapshot).toMatchObject({ status: "forbidden", items: [] });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(subscriptions()).toHaveLength(1);
});

test("a calendar that isn't granted any more shows nothing, and what is told of others changes nothing", async () => {
  const calendar = await opened();
  platform.socket.tell("CHILDREN", { ...NAME, items: [item("1")] });
  const gone = { ref: null, code: "FORBIDDEN", message: "no" };
  for (const other of ["event", "note"])
    platform.socket.tell("OP_BROADCAST", { ...NAME, resource_type: other, version: 1, operations: [] });
  platform.socket.tell("ERROR", { ...NAME, resource: "event", resource_type: "event", ...gone });
  platform.socket.tell("ERROR", { ...NAME, ref: null, code: "RATE_LIMITED", message: "no" });
  expect(calendar.snapshot).toMatchObject({ status: "ready", items: [{ id: "1" }], isLive: true });
  platform.socket.tell("ERROR", { ...NAME, ...gone });
  expect(calendar.snapshot).toMatchObject({ status: "forbidden", items: [] });
  await vi.advanceTimersByTimeAsync(10_000);
  expect(subscriptions()).toHaveLength(1);
});

test("what is told while the rest of a long calendar is on its way is newer than that", async () => {
  const calendar = await opened();
  const titles = () => calendar.snapshot.items.map(({ title }) => title);
  platform.answer = () => {
    platform.socket.tell("CHILD_CHANGED", { ...NAME, item: { ...item("2"), version: 2, title: "new" } });
    platform.socket.tell("CHILD_REMOVED", { ...NAME, item: item("3") });
    return { status: 200, body: { items: [item("2"), item("3"), item("4")], next: null } };
  };
  platform.socket.tell("CHILDREN", { ...NAME, items: [item("1")], next: "~1" });
  await vi.advanceTimersByTimeAsync(0);
  expect(titles()).toEqual(["1", "new", "4"]);
  platform.socket.tell("CHILD_CHANGED", { ...NAME, item: item("3") });
  expect(titles()).toEqual(["1", "new", "3", "4"]);
});

test.each([
  ["told anew", "CHILDREN", { items: [item("5")] }, ["5"]],
  ["refused", "ERROR", { ref: "children", code: "FORBIDDEN", message: "no" }, []],
])("the rest of a calendar that is %s meanwhile is left out", async (_, type, payload, left) => {
  const calendar = await opened();
  platform.answer = () => {
    platform.socket.tell(type, { ...NAME, ...payload });
    return { status: 200, body: { items: [item("2")], next: null } };
  };
  platform.socket.tell("CHILDREN", { ...NAME, items: [item("1")], next: "~1" });
  await vi.advanceTimersByTimeAsync(0);
  expect(calendar.snapshot.items.map(({ id }) => id)).toEqual(left);
});
