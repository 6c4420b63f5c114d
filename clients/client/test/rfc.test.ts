/** RFC-002's snippets for clients, as they stand, against a real gateway. */

import { randomUUID } from "node:crypto";
import { memoryStore, type Presence, type Store } from "@collab/client";
import { afterEach, describe, expect, expectTypeOf, it, test } from "vitest";
import { People } from "./support/people.js";
import { until } from "./support/until.js";

const people = new People();
const sockets: WebSocket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

interface Received {
  type: string;
  // biome-ignore lint/suspicious/noExplicitAny: RFC-002 has it so
  payload: any;
}

test("2.2: a browser's own WebSocket authenticates, subscribes and sees a change", async () => {
  const { document } = await people.event("ann");
  const [jwt_token, user, event_id] = [people.gateway.token("ben"), { id: "ben" }, document.id];
  const uuid = randomUUID;
  const messages: Received[] = [];
  let onChange = () => {};
  const handleMessage = (data: Received) => {
    messages.push(data);
    if (data.type === "OP_BROADCAST") onChange();
    if (data.type === "PRESENCE_STATE") document.set("/title", "Updated Meeting Title");
  };
  const changed = new Promise<void>((resolve) => {
    onChange = resolve;
  });

  const ws = new WebSocket(people.gateway.url);
  sockets.push(ws);
  ws.onopen = () => {
    // Send authentication
    ws.send(
      JSON.stringify({ type: "AUTH", payload: { token: jwt_token, client_id: uuid(), user_id: user.id } }),
    );

    // Subscribe to event updates
    ws.send(JSON.stringify({ type: "SUBSCRIBE", payload: { resource: "event", resource_id: event_id } }));
  };
  ws.onmessage = (message) => {
    const data = JSON.parse(message.data);
    handleMessage(data);
  };

  await changed;
  const types = messages.map((message) => message.type);
  expect(types.slice(0, 2)).toEqual(["AUTH_ACK", "SUBSCRIBE_ACK"]);
  const broadcast = messages.find((message) => message.type === "OP_BROADCAST");
  expect(broadcast?.payload.operation).toEqual({
    op: "replace",
    path: "/title",
    value: "Updated Meeting Title",
  });
});

test("2.2: the example operations, one by one and as one edit", async () => {
  // Example Operations
  const operations = [
    { op: "replace", path: "/title", value: "Updated Meeting Title" },
    { op: "replace", path: "/start_time", value: "2025-12-15T14:00:00Z" },
    {
      op: "add",
      path: "/attendees/-",
      value: { user_id: "user_123", email: "john@example.com", response_status: "NEEDS_ACTION" },
    },
    { op: "remove", path: "/attendees/2" },
  ] as const;
  const attendees = [1, 2, 3].map((number) => ({ user_id: `user_${number}`, response_status: "ACCEPTED" }));
  const [first, second, , john] = [...attendees, operations[2].value];
  const before = { title: "Sync", start_time: "2025-12-15T09:00:00Z", attendees };
  const after = {
    title: "Updated Meeting Title",
    start_time: "2025-12-15T14:00:00Z",
    attendees: [first, second, john],
  };
  for (const edits of [operations, [operations]]) {
    const { document: ann } = await people.event("ann", before);
    const { document: ben } = await people.join("ben", ann.id);
    for (const edit of edits) ann.edit(edit);
    expect(ann.snapshot.view).toEqual(after);
    await ann.saved();
    await until(ben, (now) => now.view?.attendees?.at(-1)?.user_id === "user_123" && now.isLive);
    expect(ben.snapshot.view).toEqual(after);
  }
});

test("2.2: every message has a type, an id, a timestamp and a payload", async () => {
  const { document } = await people.event("ann");
  const received: object[] = [];
  const ws = new WebSocket(people.gateway.url);
  sockets.push(ws);
  const said = new Set<string>();
  const ended = new Promise<void>((end) => {
    ws.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      received.push(message);
      said.add(message.type);
      if (said.has("ERROR") && said.has("OP_ACK")) end(); // the log answers when it has it
    };
  });
  const resource = { resource_type: "event", resource_id: document.id };
  const operation = { op: "replace", path: "/title", value: "Thin" };
  const version = document.snapshot.version;
  ws.onopen = () => {
    const messages: [string, object][] = [
      ["AUTH", { token: people.gateway.token("ben"), client_id: "thin", user_id: "ben" }],
      ["SUBSCRIBE", { resource: "event", resource_id: document.id }],
      ["OP", { ...resource, operation, version, client_id: "thin" }],
      ["SYNC_REQUEST", { ...resource, last_version: version }],
      ["PING", {}],
      ["UNSUBSCRIBE", { resource: "event", resource_id: document.id }],
      ["PRESENCE_UPDATE", { ...resource, is_typing: true }], // not subscribed any more
    ];
    messages.forEach(([type, payload], number) => {
      ws.send(JSON.stringify({ type, id: `m-${number}`, timestamp: Date.now(), payload }));
    });
  };
  await ended;
  for (const message of received) {
    expect(message).toMatchObject({
      type: expect.any(String),
      id: expect.any(String),
      timestamp: expect.any(Number),
      payload: expect.any(Object),
    });
  }
  const wanted = ["AUTH_ACK", "SUBSCRIBE_ACK", "PRESENCE_STATE", "OP_ACK", "SYNC_RESPONSE", "PONG", "ERROR"];
  expect(wanted.filter((type) => !said.has(type))).toEqual([]);
});

test("2.4: people are what the RFC's components take", async () => {
  interface RfcPresence {
    user_id: string;
    user: { id: string; name: string; avatar_url: string; color: string };
    cursor: { field: string; position?: number };
    is_typing: boolean;
    last_seen: number;
    client_id: string;
  }
  expectTypeOf<Presence>().toExtend<Readonly<RfcPresence>>();
  const { document: ann } = await people.event("ann", { title: "Sync" });
  const { client, document: ben } = await people.join("ben", ann.id);
  ben.presence.setCursor({ field: "title", position: 2 });
  const { others } = await until(ann.presence, (now) => now.others[0]?.cursor.position === 2);
  expect(others[0]).toMatchObject({
    user_id: "ben",
    user: { id: "ben", name: "ben", avatar_url: "", color: expect.stringMatching(/^#[0-9a-f]{6}$/) },
    cursor: { field: "title", position: 2 },
    is_typing: false,
    last_seen: expect.any(Number),
    client_id: client.clientId,
  });
});

/** What the snippet of a test takes for granted: a thin client that waits for messages. */
class WebSocketClient {
  #socket: WebSocket | null = null;
  #messages: Received[] = [];
  #version = 0;
  #resource = { resource_type: "", resource_id: "" };
  #clientId = randomUUID();
  #onMessage = () => {};

  constructor(private readonly token: string) {}

  async connect(): Promise<void> {
    const socket = new WebSocket(people.gateway.url);
    sockets.push(socket);
    this.#socket = socket;
    socket.onmessage = (message) => {
      this.#messages.push(JSON.parse(message.data));
      this.#onMessage();
    };
    await new Promise((open) => {
      socket.onopen = open;
    });
    this.#send("AUTH", { token: this.token, client_id: this.#clientId });
    await this.waitForMessage("AUTH_ACK");
  }

  #send(type: string, payload: object): void {
    this.#socket?.send(JSON.stringify({ type, payload }));
  }

  async subscribe(type: string, id: string): Promise<void> {
    this.#resource = { resource_type: type, resource_id: id };
    this.#send("SUBSCRIBE", { resource: type, resource_id: id });
    this.#version = (await this.waitForMessage("SUBSCRIBE_ACK")).payload.version;
  }

  async sendOperation(operation: object): Promise<void> {
    this.#send("OP", { ...this.#resource, operation, version: this.#version, client_id: this.#clientId });
  }

  /** How long it waits is the RFC's to say; here the test has its bound. */
  async waitForMessage(type: string, _timeoutMs = 5000): Promise<Received> {
    for (;;) {
      const at = this.#messages.findIndex((message) => message.type === type);
      if (at >= 0) return this.#messages.splice(at, 1)[0] as Received;
      await new Promise<void>((come) => {
        this.#onMessage = come;
      });
    }
  }
}

describe("8.2: Realtime Collaboration", () => {
  it("should sync changes between multiple clients", async () => {
    const { document } = await people.event("ann");
    const [token1, token2, eventId] = [people.gateway.token("ben"), people.gateway.token("eve"), document.id];

    // Setup: 2 clients connected to same event
    const client1 = new WebSocketClient(token1);
    const client2 = new WebSocketClient(token2);

    await client1.connect();
    await client2.connect();

    await client1.subscribe("event", eventId);
    await client2.subscribe("event", eventId);

    // Client 1 edits title
    await client1.sendOperation({ op: "replace", path: "/title", value: "New Title" });

    // Client 2 should receive update
    const update = await client2.waitForMessage("OP_BROADCAST", 5000);

    expect(update.payload.operation.path).toBe("/title");
    expect(update.payload.operation.value).toBe("New Title");
    // ... and so does this package's own client.
    await until(document, (now) => now.view?.title === "New Title");
  });
});

interface Operation {
  id: string;
  op: string;
  path: string;
  value: string;
}

/** RFC-002's offline queue, with a store in place of its IndexedDB and HTTP for its `sendOperation`. */
class OfflineQueue {
  private queue: Operation[] = [];
  isOnLine = false;

  constructor(
    private readonly db: Store,
    private readonly sendOperation: (op: Operation, options?: { force: boolean }) => Promise<void>,
    private readonly showConflictDialog: (sides: { local: Operation; server: unknown }) => Promise<string>,
    private readonly showMergeEditor: (local: Operation, server: unknown) => Promise<Operation>,
  ) {}

  // Add operation to offline queue
  async enqueue(operation: Operation) {
    this.queue.push(operation);
    await this.db.write(new Map([[`offline_queue/${operation.id}`, { ...operation }]]));
  }

  // When back online, sync queued operations
  async syncWhenOnline() {
    if (!this.isOnLine) return;

    for (const key of await this.db.keys("offline_queue/")) {
      const op = (await this.db.read(key)) as unknown as Operation;
      try {
        await this.sendOperation(op);
        await this.discardOperation(op);
      } catch (error) {
        // Conflict detected, need manual resolution
        const { code, problem } = error as { code: string; problem: { server_state: unknown } };
        if (code !== "CONFLICT") throw error;
        await this.handleConflict(op, problem.server_state);
      }
    }
  }

  // Handle conflicts from offline edits
  async handleConflict(localOp: Operation, serverState: unknown) {
    // Show conflict resolution UI
    const resolution = await this.showConflictDialog({ local: localOp, server: serverState });

    if (resolution === "keep_local") {
      // Force push local changes
      await this.sendOperation(localOp, { force: true });
    } else if (resolution !== "keep_server") {
      // Merge manually
      const merged = await this.showMergeEditor(localOp, serverState);
      await this.sendOperation(merged, { force: true });
    }
    // Discard local changes
    await this.discardOperation(localOp);
  }

  async discardOperation(op: Operation) {
    await this.db.write(new Map([[`offline_queue/${op.id}`, undefined]]));
  }
}

test.each([
  ["keep_local", "Local"],
  ["keep_server", "Server"],
  ["merge", "Local and Server"],
])("2.5: an offline queue meets a conflict, and the user says %s", async (resolution, title) => {
  const { document } = await people.event("ann", { title: "Base" });
  const version = document.snapshot.version;
  const url = `${people.gateway.url.replace("ws:", "http:").replace("/realtime", "")}/v1/resources/event/${document.id}`;
  const headers = {
    authorization: `Bearer ${people.gateway.token("ben")}`,
    "content-type": "application/json",
  };
  const sendOperation = async ({ id: _, ...operation }: Operation, options?: { force: boolean }) => {
    const body = JSON.stringify({ operation, version, client_id: "ben", on_conflict: "refuse", ...options });
    const answer = await fetch(`${url}/operations`, { method: "POST", headers, body });
    if (answer.ok) return;
    const problem = await answer.json();
    throw Object.assign(new Error(problem.detail), { code: problem.code, problem });
  };
  const asked: unknown[] = [];
  const db = memoryStore();
  const queue = new OfflineQueue(
    db,
    sendOperation,
    async (sides) => {
      asked.push(sides);
      return resolution;
    },
    async (local, server) => ({
      ...local,
      value: `${local.value} and ${(server as { title: string }).title}`,
    }),
  );
  const local = { id: "1", op: "replace", path: "/title", value: "Local" };
  await queue.enqueue(local);
  await queue.syncWhenOnline(); // not yet: nothing is sent
  document.set("/title", "Server");
  await document.saved();
  queue.isOnLine = true;
  await queue.syncWhenOnline();
  expect(asked).toEqual([{ local, server: { title: "Server" } }]);
  await until(document, (now) => now.view?.title === title);
  expect(await db.keys("offline_queue/")).toEqual([]);
});
