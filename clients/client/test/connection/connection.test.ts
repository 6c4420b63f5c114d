/** The connection's states, each with the clock in the test's hand. */

import { type Client, type ClientOptions, createClient, memoryStore } from "@collab/client";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ServerConnection } from "../../src/connection/connection.js";
import { environmentOf } from "../../src/environment.js";
import { FakePlatform } from "../support/fake.js";
import { problemsOf } from "../support/problems.js";

const MINUTE = 60_000;

let platform: FakePlatform;
let client: Client;
let tokens: number;

beforeEach(() => {
  vi.useFakeTimers();
  platform = new FakePlatform();
  tokens = 0;
});
afterEach(async () => {
  await client.close();
  vi.useRealTimers();
});

const settle = () => vi.advanceTimersByTimeAsync(0);

async function start(options: Partial<ClientOptions> = {}): Promise<void> {
  client = createClient({
    url: "ws://gateway/realtime",
    getToken: () => `token-${++tokens}`,
    store: memoryStore(),
    environment: platform.environment(),
    ...options,
  });
  await settle();
}

async function online(options: Partial<ClientOptions> = {}, ack: object = {}): Promise<void> {
  await start(options);
  platform.socket.admit(ack);
  await vi.advanceTimersByTimeAsync(10_000); // long enough to have worked
}

/** Turns the clock until another socket is opened. */
async function nextSocket(): Promise<void> {
  const before = platform.sockets.length;
  for (let tick = 0; platform.sockets.length === before; tick++) {
    if (tick > 3_600) throw new Error("no other socket within 6 minutes");
    await vi.advanceTimersByTimeAsync(100);
  }
}

const state = () => client.connection.snapshot.state;
const reason = () => client.connection.snapshot.reason;
const poll = () => ({ status: 304 });

test("it connects, says who it is, and is online", async () => {
  await start({ userId: "ann" });
  expect(state()).toBe("connecting");
  platform.socket.accept();
  expect(platform.socket.last("AUTH")?.payload).toEqual({
    token: "token-1",
    client_id: client.clientId,
    user_id: "ann",
    protocol: 1,
  });
  expect(client.connection.snapshot.variant).toBeNull();
  platform.socket.tell("AUTH_ACK", { user_id: "ann", variant: "realtime_v2" });
  const variant = "realtime_v2";
  expect(client.connection.snapshot).toMatchObject({ state: "online", reason: null, userId: "ann", variant });
});

describe("a lost connection", () => {
  test("comes back by itself, with a fresh token", async () => {
    await online();
    platform.socket.end(1006);
    expect(state()).toBe("reconnecting");
    expect(reason()).toBe("lost");
    await nextSocket();
    platform.socket.admit();
    expect(state()).toBe("online");
    expect(tokens).toBe(2);
    expect(platform.socket.last("AUTH")?.payload.token).toBe("token-2");
  });

  test("backs off with full jitter between the server's bounds", async () => {
    await online({}, { reconnect: { min_ms: 100, max_ms: 1_000 } });
    platform.jitter = 0.999;
    const waits: number[] = [];
    platform.answer = poll;
    for (let failure = 0; failure < 6; failure++) {
      platform.socket.accept(); // the handshake works, so nothing speaks for polling
      platform.socket.end(1006);
      waits.push((client.connection.snapshot.retryAt ?? 0) - Date.now());
      await vi.advanceTimersByTimeAsync(waits.at(-1) ?? 0);
    }
    expect(waits).toEqual([200, 400, 799, 999, 999, 999]);
    platform.jitter = 0;
    platform.socket.end(1006);
    expect((client.connection.snapshot.retryAt ?? 0) - Date.now()).toBe(100);
  });

  test("waits no longer when the network returns", async () => {
    await online();
    platform.network.turn(false);
    expect(reason()).toBe("offline");
    expect(platform.sockets[0]?.isClosedByClient).toBe(true);
    platform.network.turn(true);
    await settle();
    expect(platform.sockets).toHaveLength(2);
  });

  test("is noticed when the other end says nothing any more", async () => {
    await online();
    platform.socket.tell("PONG");
    await vi.advanceTimersByTimeAsync(20_000);
    expect(platform.socket.last("PING")).toBeDefined();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(state()).toBe("reconnecting");
  });

  test("isn't lost by somebody who reads what others write all the time: the server hears of them", async () => {
    await online();
    for (let told = 0; told < 6; told++) {
      platform.socket.tell("PRESENCE_LEAVE", { resource_type: "event", resource_id: "1", session_id: "s" });
      await vi.advanceTimersByTimeAsync(5_000);
    }
    expect(platform.socket.last("PING")).toBeDefined();
  });

  test("is asked for a sign of life when the user comes back", async () => {
    await online();
    platform.foreground.turn(false);
    platform.foreground.turn(true);
    expect(platform.socket.last("PING")).toBeDefined();
  });
});

describe("the server's word on when to come back", () => {
  test("GOAWAY paces, and the network's return doesn't cut it short", async () => {
    await online();
    platform.socket.tell("GOAWAY", { reconnect_after_ms: 7_000 });
    expect(state()).toBe("online");
    platform.socket.end(1001);
    platform.network.tell();
    await vi.advanceTimersByTimeAsync(6_900);
    expect(platform.sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(platform.sockets).toHaveLength(2);
  });

  test.each([
    [4429, "", "slow", MINUTE],
    [4503, "retry_after_ms=5000", "full", 5_000],
  ])("%i waits", async (code, text, why, ms) => {
    await online();
    platform.socket.end(code, text);
    expect(reason()).toBe(why);
    await vi.advanceTimersByTimeAsync(ms - 100);
    expect(platform.sockets).toHaveLength(1);
    await nextSocket();
    platform.socket.admit();
  });

  test.each(["1e12", "-5", "soon"])("4503 with a pace of %s is no busy loop", async (pace) => {
    await online();
    platform.socket.end(4503, `retry_after_ms=${pace}`);
    await vi.advanceTimersByTimeAsync(200);
    expect(platform.sockets).toHaveLength(1);
  });

  test("nor is a GOAWAY for ever", async () => {
    await online();
    platform.socket.tell("GOAWAY", { reconnect_after_ms: 1e12 });
    platform.socket.end(1001);
    await vi.advanceTimersByTimeAsync(200);
    expect(platform.sockets).toHaveLength(1);
  });

  test.each([
    [1e12, 1e13],
    [0, 0],
    ["soon", "late"],
  ])("nor are bounds of a back-off from %s to %s", async (min_ms, max_ms) => {
    await online({}, { reconnect: { min_ms, max_ms } });
    platform.socket.end(1006);
    await vi.advanceTimersByTimeAsync(200);
    expect(platform.sockets).toHaveLength(1);
  });
});

test("4503 without a reason, which is null in React Native on iOS, backs off", async () => {
  await online();
  platform.socket.end(4503, null as never);
  expect(reason()).toBe("full");
  await nextSocket();
  platform.socket.admit();
  expect(state()).toBe("online");
});

test("who was here before says so when it connects", async () => {
  await online();
  platform.socket.end(1006);
  await nextSocket();
  platform.socket.end(4503, "retry_after_ms=500");
  await nextSocket();
  expect(platform.addresses).toEqual([
    "ws://gateway/realtime",
    "ws://gateway/realtime?resume=1",
    "ws://gateway/realtime?resume=1",
  ]);
});

describe("tokens", () => {
  test("4401 comes back at once with a new one; refused again and again, it is the user's turn", async () => {
    await online();
    platform.socket.end(4401, "TOKEN_EXPIRED");
    await settle();
    expect(tokens).toBe(2);
    for (let refused = 0; refused < 2; refused++) {
      platform.socket.accept();
      platform.socket.end(4401, "UNAUTHENTICATED");
      await vi.advanceTimersByTimeAsync(30_000);
    }
    expect(state()).toBe("denied");
    expect(reason()).toBe("token");
    client.connect();
    await settle();
    platform.socket.admit();
    expect(state()).toBe("online");
  });

  test("what the server has against one is told when it is denied, not that it waited in vain", async () => {
    await start();
    const problems = problemsOf(client);
    const refusal = { code: "INVALID_MESSAGE", message: "payload.token must be a string.", ref: "1" };
    for (let refused = 0; refused < 3; refused++) {
      platform.socket.accept();
      platform.socket.tell("ERROR", refusal);
      platform.socket.tell("ERROR", { code: "UNAUTHENTICATED", message: "No AUTH within 10 s.", ref: null });
      platform.socket.end(4401, "UNAUTHENTICATED");
      await vi.advanceTimersByTimeAsync(30_000);
    }
    const message = "The connection was denied: payload.token must be a string.";
    expect(problems).toEqual([{ code: "DENIED", message, refusal }]);
  });

  test("what the server had against an older one isn't told when a newer one is denied without a word", async () => {
    await start();
    const problems = problemsOf(client);
    for (const told of [{ code: "TOKEN_EXPIRED", message: "It has expired.", ref: "1" }, null, null]) {
      platform.socket.accept();
      if (told) platform.socket.tell("ERROR", told);
      platform.socket.end(4401, "UNAUTHENTICATED");
      await vi.advanceTimersByTimeAsync(30_000);
    }
    expect(problems).toEqual([{ code: "DENIED", message: "The connection was denied: token" }]);
  });

  test("one that is about to end is renewed on the same socket", async () => {
    await online();
    platform.socket.tell("AUTH_EXPIRING");
    await settle();
    expect(platform.socket.last("AUTH")?.payload).toEqual({ token: "token-2" });
    platform.socket.tell("AUTH_ACK", { user_id: "ann" });
    expect(state()).toBe("online");
    expect(platform.sockets).toHaveLength(1);
  });

  test("once it is renewed, what it didn't grant is asked for again, and nothing else", async () => {
    await online();
    for (const id of ["1", "2"]) client.open("event", id);
    await settle();
    const name = { resource: "event", resource_type: "event" };
    const told = { ...name, resource_id: "1", version: 0, epoch: 1, role: "editor", state: null };
    platform.socket.tell("SUBSCRIBE_ACK", told);
    const ref = platform.socket.last("SUBSCRIBE")?.id;
    const message = "The token grants no role for event:2.";
    platform.socket.tell("ERROR", { ...name, resource_id: "2", ref, code: "FORBIDDEN", message });
    platform.socket.tell("AUTH_EXPIRING");
    await settle();
    platform.socket.sent.length = 0;
    platform.socket.tell("AUTH_ACK", { user_id: "ann" });
    const asked = platform.socket.sent.map(({ type, payload }) => [type, payload.resource_id]);
    expect(asked).toEqual([["SUBSCRIBE", "2"]]);
  });

  test("where none can be had it backs off and asks again", async () => {
    let isThere = false;
    await start({ getToken: () => (isThere ? "t" : Promise.reject(new Error("the network is down"))) });
    expect(reason()).toBe("token");
    isThere = true;
    platform.network.tell();
    await settle();
    platform.socket.admit();
    expect(state()).toBe("online");
  });
});

describe("closed for good", () => {
  test.each([
    [4403, "origin", "origin"],
    [4409, "replaced", "replaced"],
    [1002, "", "protocol"],
    [1007, "", "protocol"],
    [1008, "", "protocol"],
    [1009, "", "protocol"],
  ])("%i %s is denied, whatever happens", async (code, text, why) => {
    await online();
    const problems: string[] = [];
    client.onProblem((problem) => problems.push(problem.code));
    platform.socket.end(code, text);
    platform.network.tell();
    platform.activity.tell();
    await vi.advanceTimersByTimeAsync(60 * MINUTE);
    expect(state()).toBe("denied");
    expect(reason()).toBe(why);
    expect(platform.sockets).toHaveLength(1);
    expect(problems).toEqual(["DENIED"]);
  });

  test("a client that was replaced takes another name when it is told to connect", async () => {
    await online();
    const before = client.clientId;
    platform.socket.end(4409);
    platform.jitter = 0.7;
    client.connect();
    await settle();
    platform.socket.accept();
    expect(client.clientId).not.toBe(before);
    expect(platform.socket.last("AUTH")?.payload.client_id).toBe(client.clientId);
  });
});

test("an idle connection (4408) waits for the user", async () => {
  await online();
  platform.socket.end(4408);
  expect(reason()).toBe("idle");
  await vi.advanceTimersByTimeAsync(60 * MINUTE);
  expect(platform.sockets).toHaveLength(1);
  platform.activity.tell();
  await settle();
  expect(platform.sockets).toHaveLength(2);
});

describe("polling", () => {
  test.each(["killed", "not_enabled"])("%s polls, and comes back when it may", async (why) => {
    platform.answer = poll;
    await online();
    client.open("event", "1");
    await settle();
    platform.socket.end(4403, why);
    await settle();
    expect(state()).toBe("polling");
    expect(reason()).toBe(why);
    expect(platform.requests).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(40_000);
    platform.socket.accept();
    platform.socket.end(4403, why); // still not allowed: this round goes over HTTP
    await settle();
    expect(platform.requests).toHaveLength(2);
    expect(state()).toBe("polling");
    await vi.advanceTimersByTimeAsync(40_000);
    platform.socket.admit();
    expect(state()).toBe("online");
  });

  test("starts where sockets never open, and a tab in the background polls each 5 minutes", async () => {
    platform.answer = poll;
    await start();
    client.open("event", "1");
    for (let failure = 0; failure < 3; failure++) {
      platform.socket.end(1006);
      await vi.advanceTimersByTimeAsync(10_000);
    }
    expect(state()).toBe("polling");
    const before = platform.requests.length;
    platform.foreground.turn(false);
    const tries = platform.sockets.length;
    await vi.advanceTimersByTimeAsync(30_000 * 1.25);
    platform.socket.end(1006);
    await settle();
    expect(platform.requests.length - before).toBe(1);
    await vi.advanceTimersByTimeAsync(4 * MINUTE);
    expect(platform.requests.length - before).toBe(1);
    expect(platform.sockets.length - tries).toBe(1);
    await vi.advanceTimersByTimeAsync(3 * MINUTE);
    expect(platform.sockets.length - tries).toBe(2);
  });

  test("tries sockets though somebody edits all the time", async () => {
    platform.answer = poll;
    await online();
    platform.socket.end(4403, "killed");
    await settle();
    for (let number = 0; platform.sockets.length === 1; number++) {
      expect(number).toBeLessThan(40);
      client.open("event", `${number}`); // something to ask for, as an edit is
      await vi.advanceTimersByTimeAsync(10_000);
      expect(platform.requests.length).toBeGreaterThan(number);
    }
    platform.socket.admit();
    expect(state()).toBe("online");
  });

  test("falls back to back-off where HTTP fails as well", async () => {
    await start();
    client.open("event", "1");
    for (let failure = 0; failure < 3; failure++) {
      platform.socket.end(1006);
      await vi.advanceTimersByTimeAsync(5_000);
    }
    await nextSocket();
    expect(reason()).toBe("lost");
    expect(platform.requests.length).toBeGreaterThan(0);
    platform.socket.admit();
    expect(state()).toBe("online");
  });

  test("in the background is as often as in the foreground while another tab is seen", async () => {
    const rounds: boolean[] = [];
    const peer = {
      onOnline: () => {},
      onOffline: () => {},
      onMessage: () => {},
      tell: () => {},
      poll: async (_isOn: () => boolean, isWhole: boolean) => {
        rounds.push(isWhole);
      },
    };
    const options = { url: "ws://gateway/realtime", getToken: () => "" };
    await start();
    platform = new FakePlatform();
    platform.foreground.turn(false);
    const server = new ServerConnection(options, () => "ann", environmentOf(platform.environment()), peer);
    server.connect();
    while (!rounds.length) await vi.advanceTimersByTimeAsync(1_000); // its sockets never open
    await vi.advanceTimersByTimeAsync(MINUTE);
    expect(rounds).toEqual([true]);
    for (let asked = 0; asked < 3; asked++) {
      server.onSeen();
      await vi.advanceTimersByTimeAsync(20_000);
    }
    expect(rounds).toEqual([true, true, true]);
    server.close();
  });

  test("saves power in the background where it is asked to", async () => {
    platform.answer = poll;
    await online({ background: "poll" });
    client.open("event", "1");
    await settle();
    platform.foreground.turn(false);
    await settle();
    expect(platform.sockets[0]?.isClosedByClient).toBe(true);
    expect(state()).toBe("polling");
    const before = platform.requests.length;
    await vi.advanceTimersByTimeAsync(5 * MINUTE * 1.25);
    expect(platform.requests.length - before).toBe(1);
    expect(platform.sockets).toHaveLength(1);
    platform.foreground.turn(true);
    await settle();
    platform.socket.admit();
    expect(state()).toBe("online");
  });
});

describe("in the background, where power is to be saved", () => {
  test.each([
    ["after a back-off", () => platform.socket.end(1006), () => vi.advanceTimersByTimeAsync(2 * MINUTE)],
    [
      "when the network comes back",
      () => platform.network.turn(false),
      async () => platform.network.turn(true),
    ],
  ])("no socket is opened: %s", async (_name, loses, returns) => {
    platform.answer = poll;
    await online({ background: "poll" });
    client.open("event", "1");
    loses();
    expect(state()).toBe("reconnecting");
    platform.foreground.turn(false);
    await returns();
    await settle();
    expect(platform.sockets).toHaveLength(1);
    expect(state()).toBe("polling");
    expect(platform.requests).toHaveLength(1);
    platform.foreground.turn(true);
    await settle();
    platform.socket.admit();
    expect(state()).toBe("online");
  });

  test("nor where a client starts there", async () => {
    platform.answer = poll;
    platform.foreground.turn(false);
    await start({ background: "poll" });
    expect(platform.sockets).toHaveLength(0);
    expect(state()).toBe("polling");
    client.connect();
    await vi.advanceTimersByTimeAsync(10 * MINUTE);
    expect(platform.sockets).toHaveLength(0);
  });
});

describe("the application's word", () => {
  test("working offline is the application's decision, and ends with it", async () => {
    await online();
    client.disconnect();
    await settle();
    expect(client.connection.snapshot).toMatchObject({ state: "reconnecting", reason: "disconnected" });
    expect(client.connection.snapshot.isPaused).toBe(true);
    platform.network.tell();
    platform.activity.tell();
    await vi.advanceTimersByTimeAsync(60 * MINUTE);
    expect(platform.sockets).toHaveLength(1);
    client.connect();
    await settle();
    platform.socket.admit();
    expect(client.connection.snapshot).toMatchObject({ state: "online", isPaused: false });
  });

  test("nothing of a closed client listens any more", async () => {
    await online();
    await client.close();
    expect(platform.network.listeners + platform.foreground.listeners + platform.activity.listeners).toBe(0);
    expect(platform.socket.isClosedByClient).toBe(true);
    await vi.advanceTimersByTimeAsync(MINUTE);
    expect(platform.sockets).toHaveLength(1);
  });
});
