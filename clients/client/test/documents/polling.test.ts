/** What a document does with what it gets over HTTP, from the gateway or from something before it. */

import { type Client, createClient, memoryStore, type Problem, type SharedDocument } from "@collab/client";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Answer, type Answered, FakePlatform } from "../support/fake.js";
import type { Event } from "../support/people.js";

let platform: FakePlatform;
let client: Client;
let document: SharedDocument<Event>;
let problems: Problem[];
let getToken: () => string | Promise<string>;

beforeEach(async () => {
  vi.useFakeTimers();
  platform = new FakePlatform();
  problems = [];
  getToken = () => "token";
  client = createClient({
    url: "ws://gateway/realtime",
    getToken: () => getToken(),
    store: memoryStore(),
    environment: platform.environment(),
  });
  client.onProblem((problem) => problems.push(problem));
  document = client.open<Event>("event", "1");
  await settle();
  platform.socket.admit();
  await settle();
  const event = { resource: "event", resource_type: "event", resource_id: "1" };
  const state = { title: "Sync" };
  platform.socket.tell("SUBSCRIBE_ACK", { ...event, version: 5, epoch: 1, role: "editor", state });
  await settle();
});
afterEach(async () => {
  await client.close();
  vi.useRealTimers();
});

const settle = () => vi.advanceTimersByTimeAsync(0);
const nothingNew = { status: 304 };
const problem = (status: number, code: string) => ({ status, body: { code, detail: "no" } });

/** From now on over HTTP, where all is answered so, and `reads` otherwise where that is given. */
async function poll(posts: Answer, reads: Answer = () => nothingNew): Promise<void> {
  platform.answer = (method, url, body) => (method === "GET" ? reads : posts)(method, url, body);
  platform.socket.end(4403, "killed");
  await vi.advanceTimersByTimeAsync(2_000);
}

describe("what answers before the gateway", () => {
  const page = "<html>Log in</html>";
  const answers: [string, Answered][] = [
    ["a page of its own", { status: 200, body: page }],
    ["JSON of its own", { status: 200, body: { code: 0 } }],
    ["a page that says no", { status: 403, body: page }],
    ["a page that says that it doesn't take it", { status: 405, body: page }],
    ["a page that the token isn't enough for", { status: 401, body: page }],
  ];

  test.each(answers)("with %s changes nothing, and takes no edit", async (_name, answer) => {
    document.set("/location", "Room 1");
    await poll(
      () => answer,
      () => answer,
    );
    const kept = { status: "ready", view: { title: "Sync", location: "Room 1" }, version: 5, pending: 1 };
    expect(document.snapshot).toMatchObject(kept);
    await poll(() => answer);
    expect(document.snapshot).toMatchObject(kept);
    expect(problems).toEqual([]);
    platform.answer = (method) => (method === "GET" ? nothingNew : { status: 200, body: { version: 6 } });
    await vi.advanceTimersByTimeAsync(90_000);
    expect(document.snapshot).toMatchObject({ version: 6, pending: 0, view: kept.view });
  });

  test.each(answers)("with %s shows no empty calendar, and forbids none", async (_name, answer) => {
    const calendar = client.calendar("team");
    const item = { resource_type: "event", resource_id: "2", version: 1, title: "Lunch" };
    await poll(
      () => nothingNew,
      (_, url) => (url.searchParams.has("since") ? nothingNew : { status: 200, body: { items: [item] } }),
    );
    expect(calendar.snapshot.items).toHaveLength(1);
    platform.answer = () => answer;
    await vi.advanceTimersByTimeAsync(90_000);
    expect(calendar.snapshot).toMatchObject({ status: "ready", items: [{ title: "Lunch" }] });
    calendar.close();
  });
});

test("while somebody types, only what they type in is asked for, with one token, and all each half minute", async () => {
  const calendar = client.calendar("team");
  const other = client.open<Event>("event", "2");
  let tokens = 0;
  getToken = () => `token ${++tokens}`;
  let version = 5;
  const nothing = { status: 200, body: { items: [] } };
  await poll(
    () => ({ status: 200, body: { version: ++version } }),
    (_, url) => (url.pathname.endsWith("/1") ? nothingNew : nothing),
  );
  const asked = (path: string) => platform.requests.filter((request) => request.startsWith(`GET ${path}`));
  const rest = () => asked("/v1/resources/event/2").length + asked("/v1/resources/event?").length;
  const [restBefore, tokensBefore] = [rest(), tokens];
  expect(restBefore).toBeGreaterThan(1);
  for (let second = 1; second <= 20; second++) {
    document.set("/location", `Room ${second}`);
    await vi.advanceTimersByTimeAsync(1_000);
  }
  expect(version).toBeGreaterThan(15);
  expect([rest(), tokens]).toEqual([restBefore, tokensBefore]);
  for (let second = 21; second <= 40; second++) {
    document.set("/location", `Room ${second}`);
    await vi.advanceTimersByTimeAsync(1_000);
  }
  expect([rest(), tokens]).toEqual([restBefore + 2, tokensBefore + 1]);
  client.open<Event>("event", "3");
  await vi.advanceTimersByTimeAsync(1_000);
  expect(asked("/v1/resources/event/3")).toHaveLength(1);
  other.close();
  calendar.close();
});

describe("the gateway's refusal", () => {
  test.each([
    [422, "INVALID_OPERATION"],
    [500, "INTERNAL"],
  ])("%i %s takes the edit back", async (status, code) => {
    document.set("/location", "Room 1");
    await poll(() => problem(status, code));
    expect(document.snapshot).toMatchObject({ view: { title: "Sync" }, pending: 0 });
    expect(problems).toMatchObject([{ code: "EDIT_REFUSED", refusal: { code } }]);
  });

  test.each([
    [503, "UNAVAILABLE"],
    [429, "RATE_LIMITED"],
    [401, "TOKEN_EXPIRED"],
  ])("%i %s passes, and the edit goes again", async (status, code) => {
    document.set("/location", "Room 1");
    await poll(() => problem(status, code));
    expect(document.snapshot).toMatchObject({ view: { title: "Sync", location: "Room 1" }, pending: 1 });
    expect(problems).toEqual([]);
    platform.answer = (method) => (method === "GET" ? nothingNew : { status: 200, body: { version: 6 } });
    await vi.advanceTimersByTimeAsync(90_000);
    expect(document.snapshot).toMatchObject({ version: 6, pending: 0 });
  });

  test("to show the document is heeded", async () => {
    await poll(
      () => nothingNew,
      () => problem(403, "FORBIDDEN"),
    );
    expect(document.snapshot.status).toBe("forbidden");
  });

  test("to show the document ends when it may be seen again, with nothing new in it", async () => {
    await poll(
      () => nothingNew,
      () => problem(403, "FORBIDDEN"),
    );
    platform.answer = () => nothingNew;
    await vi.advanceTimersByTimeAsync(90_000);
    expect(document.snapshot).toMatchObject({ status: "ready", view: { title: "Sync" } });
    document.set("/title", "One");
  });
});

test.each([
  "ws://gateway/realtime?resource=event:1",
  "ws://gateway/realtime/",
  "ws://gateway/app/realtime/?a=1",
])("with %s as its address the same gateway is asked", async (url) => {
  const other = createClient({ url, getToken, store: memoryStore(), environment: platform.environment() });
  platform.answer = () => ({ status: 200, body: { items: [] } });
  await other.list("event");
  expect(platform.requests.at(-1)).toMatch(/^GET (\/app)?\/v1\/resources\/event$/);
  await other.close();
});

test("one resource that can't be read keeps no other from being read and sent", async () => {
  const other = client.open<Event>("event", "2");
  await settle();
  const isFirst = (url: URL) => url.pathname.includes("/event/1");
  await poll(
    (_, url) => (isFirst(url) ? problem(503, "UNAVAILABLE") : { status: 200, body: { version: 8 } }),
    (_, url) => {
      if (isFirst(url)) return problem(500, "INTERNAL");
      if (url.searchParams.get("since") === "8") return nothingNew;
      return { status: 200, body: { version: 7, epoch: 1, document: { title: "Lunch" } } };
    },
  );
  expect(other.snapshot).toMatchObject({ status: "ready", view: { title: "Lunch" } });
  other.set("/location", "Room 1");
  await vi.advanceTimersByTimeAsync(2_000);
  expect(other.snapshot).toMatchObject({ pending: 0, version: 8 });
  expect(client.connection.snapshot).toMatchObject({ state: "polling", reason: "killed" });
});

test("why a document can't be read is told with the server's error", async () => {
  await poll(
    () => nothingNew,
    () => problem(413, "TOO_LARGE"),
  );
  const refusal = { code: "TOO_LARGE", detail: "no" };
  expect(problems).toMatchObject([{ code: "ERROR", message: "no", type: "event", id: "1", refusal }]);
  expect(document.snapshot).toMatchObject({ status: "ready", view: { title: "Sync" } });
});

/** Sockets don't open any more, until the client polls. */
async function loseSockets(): Promise<void> {
  while (client.connection.snapshot.state !== "polling") {
    platform.socket.end(1006);
    await vi.advanceTimersByTimeAsync(5_000);
  }
}

test.each([
  [503, "UNAVAILABLE"],
  [429, "RATE_LIMITED"],
  [401, "TOKEN_EXPIRED"],
])("where all is refused for now, with %i, the connection is lost", async (status, code) => {
  platform.answer = () => nothingNew;
  await loseSockets();
  expect(client.sync.snapshot.state).toBe("saved");
  platform.answer = () => problem(status, code);
  document.set("/location", "Room 1");
  await vi.advanceTimersByTimeAsync(2_000);
  expect(client.connection.snapshot).toMatchObject({ state: "reconnecting", reason: "lost" });
  expect(client.sync.snapshot).toMatchObject({ state: "offline", pending: 1 });
});

test("a refused edit doesn't end the polling that took the place of sockets that don't open", async () => {
  const other = client.open<Event>("event", "2");
  let isRefusing = false;
  const lunch = { status: 200, body: { version: 7, epoch: 1, document: { title: "Lunch" } } };
  platform.answer = (method, url) => {
    if (method === "POST")
      return isRefusing ? problem(503, "UNAVAILABLE") : { status: 200, body: { version: 6 } };
    return url.searchParams.has("since") ? nothingNew : lunch;
  };
  await loseSockets();
  const polling = { state: "polling", reason: "lost" };
  expect(client.connection.snapshot).toMatchObject(polling);
  expect(other.snapshot.status).toBe("ready");
  isRefusing = true;
  document.set("/location", "Room 1");
  await vi.advanceTimersByTimeAsync(2_000);
  expect(platform.requests.at(-1)).toMatch("POST");
  expect(client.connection.snapshot).toMatchObject(polling);
  isRefusing = false;
  document.set("/location", "Room 2");
  await vi.advanceTimersByTimeAsync(2_000);
  expect(document.snapshot).toMatchObject({ pending: 0, version: 6 });
});

describe("while somebody edits", () => {
  /** Each answer takes a while. */
  const slowly =
    (answer: (url: URL) => Answered): Answer =>
    (_method, url) =>
      new Promise((resolve) => setTimeout(() => resolve(answer(url)), 200));

  test.each([400, 1_500])("each %i ms, a round goes on to its end, and another follows", async (pause) => {
    const others = Array.from({ length: 14 }, (_, at) => client.open<Event>("event", String(at + 2)));
    await settle();
    let version = 5;
    await poll(
      slowly(() => ({ status: 200, body: { version: ++version } })),
      slowly((url) => {
        if (url.searchParams.has("since")) return nothingNew;
        return { status: 200, body: { version: 5, epoch: 1, document: { title: "Lunch" } } };
      }),
    );
    await vi.advanceTimersByTimeAsync(2_000);
    expect(others.map(({ snapshot }) => snapshot.status)).toEqual(others.map(() => "ready"));
    const last = others.at(-1) as SharedDocument<Event>;
    for (let edit = 1; edit <= 30; edit++) {
      last.set("/title", `Lunch ${edit}`);
      await vi.advanceTimersByTimeAsync(pause);
    }
    expect(version).toBeGreaterThan(6);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(last.snapshot).toMatchObject({ view: { title: "Lunch 30" }, pending: 0 });
  });

  test("a token that never comes holds up no more than its round", async () => {
    getToken = () => new Promise(() => {});
    await poll(() => ({ status: 200, body: { version: 6 } }));
    getToken = () => "token";
    document.set("/title", "One");
    await vi.advanceTimersByTimeAsync(25_000);
    expect(document.snapshot).toMatchObject({ pending: 0, version: 6 });
  });
});

test("a poll asks and sends nothing more after it was to end", async () => {
  client.open<Event>("event", "2");
  document.set("/title", "One");
  await settle();
  document.set("/location", "Room 1");
  await poll(() => {
    client.disconnect();
    return { status: 200, body: { version: 6 } };
  });
  await vi.advanceTimersByTimeAsync(90_000);
  expect(platform.requests).toEqual([
    "GET /v1/resources/event/1?since=5&epoch=1",
    "POST /v1/resources/event/1/operations",
  ]);
  expect(document.snapshot).toMatchObject({ version: 6, pending: 1 });
});

describe("an answer that comes when there is a socket again", () => {
  const ID = { resource: "event", resource_type: "event", resource_id: "1" };
  const ops = () => platform.socket.sent.filter(({ type }) => type === "OP");
  let answer: (answered: Answered) => void;
  const late: Answer = () => {
    return new Promise((resolve) => {
      answer = resolve;
    });
  };

  async function reconnect(): Promise<void> {
    platform.network.tell();
    await settle();
    platform.socket.admit();
    await settle();
    platform.socket.tell("SUBSCRIBE_ACK", { ...ID, version: 5, epoch: 1, role: "editor", changes: [] });
    await settle();
  }

  test("refuses nothing but what it answers", async () => {
    document.set("/title", "One");
    await poll(late);
    await reconnect();
    platform.socket.tell("OP_ACK", { ...ID, id: "op-1", version: 6 });
    document.set("/title", "Two");
    await settle();
    expect(ops().map(({ id }) => id)).toEqual(["op-1", "op-2"]);
    answer(problem(422, "INVALID_OPERATION"));
    await settle();
    expect(document.snapshot).toMatchObject({ view: { title: "Two" }, pending: 1 });
    expect(problems).toEqual([]);
  });

  test("lets nothing go a second time", async () => {
    document.set("/title", "One");
    await poll(() => nothingNew, late);
    await reconnect();
    answer(nothingNew);
    await settle();
    const operations = [{ op: "add", path: "/location", value: "Room 1" }];
    platform.socket.tell("OP_BROADCAST", { ...ID, client_id: "b", version: 6, operations });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(ops()).toHaveLength(1);
  });
});

test("edits that the gateway refuses leave one after the other, without waiting for the next poll", async () => {
  for (const name of ["a", "b", "c"]) document.set(`/start_${name}`, "tomorrow");
  document.set("/location", "Room 1");
  let version = 5;
  await poll((_method, _url, body) => {
    const { operations } = body as { operations: { path: string }[] };
    const isBad = operations.some(({ path }) => path.startsWith("/start"));
    return isBad ? problem(422, "INVALID_OPERATION") : { status: 200, body: { version: ++version } };
  });
  expect(document.snapshot).toMatchObject({ view: { title: "Sync", location: "Room 1" }, pending: 0 });
  expect(problems).toHaveLength(3);
});

test("an edit under a seq that the server forgot is merged, and goes under one that it doesn't know", async () => {
  document.set("/title", "One");
  const tooOld = { status: 409, body: { code: "SEQ_TOO_OLD", detail: "resume", seq_last: 500 } };
  const seqs: number[] = [];
  const state = { version: 600, epoch: 1, document: { title: "Sync", location: "Room 1" } };
  await poll(
    (_method, _url, body) => {
      const { seq } = body as { seq: number };
      seqs.push(seq);
      return seq > 500 ? { status: 200, body: { version: 601 } } : tooOld;
    },
    (_, url) => (url.searchParams.has("since") ? nothingNew : { status: 200, body: state }),
  );
  await vi.advanceTimersByTimeAsync(90_000);
  expect(seqs).toHaveLength(2);
  expect(document.snapshot).toMatchObject({ view: { title: "One", location: "Room 1" }, pending: 0 });
});

test("the answer to a resend doesn't say what was committed: the changes do", async () => {
  document.set("/description", "<b>cake</b>");
  const own = { version: 6, client_id: client.clientId, user_id: "ann", op_id: "x", seq: 1, timestamp: 1 };
  const operations = [{ op: "add", path: "/description", value: "cake" }];
  let isCommitted = false;
  await poll(
    () => {
      isCommitted = true;
      return { status: 200, body: { version: 6, duplicate: true } };
    },
    () => {
      if (!isCommitted) return nothingNew;
      return { status: 200, body: { version: 6, epoch: 1, changes: [{ ...own, operations }] } };
    },
  );
  expect(document.snapshot).toMatchObject({
    view: { title: "Sync", description: "cake" },
    version: 6,
    pending: 0,
  });
});

test("answers that never fit are asked for twice, and then with the next poll", async () => {
  const changes = [{ version: 9, client_id: "b", user_id: "ben", op_id: "x", timestamp: 1, operations: [] }];
  await poll(
    () => nothingNew,
    () =>
      platform.requests.length > 9
        ? new TypeError("it is asked for again and again")
        : { status: 200, body: { version: 9, epoch: 1, changes } },
  );
  expect(platform.requests).toHaveLength(2);
});
