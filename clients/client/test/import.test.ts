/** What an application gets by importing: types that fit, and nothing that a platform may lack is touched. */

import type {
  Client,
  DocumentSnapshot,
  Json,
  Presence,
  Readable,
  SharedDocument,
  Store,
} from "@collab/client";
import { afterEach, expect, expectTypeOf, test, vi } from "vitest";

const LACKING = [
  "WebSocket",
  "fetch",
  "indexedDB",
  "navigator",
  "document",
  "window",
  "BroadcastChannel",
  "crypto",
];

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

test("no global that a platform may lack is touched when the package is imported", async () => {
  const touched: string[] = [];
  const before = LACKING.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const);
  for (const name of LACKING) {
    const get = () => {
      touched.push(name);
      return undefined;
    };
    Object.defineProperty(globalThis, name, { get, configurable: true });
  }
  try {
    vi.resetModules();
    const { createClient } = await import("@collab/client");
    expect(createClient).toBeTypeOf("function");
    expect(touched).toEqual([]);
  } finally {
    for (const [name, descriptor] of before) {
      delete (globalThis as Record<string, unknown>)[name];
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
    }
  }
});

test("on a platform without any of them a client keeps edits, and says what it misses", async () => {
  const { createClient, memoryStore } = await import("@collab/client");
  vi.stubGlobal("WebSocket", undefined);
  vi.stubGlobal("navigator", undefined);
  const client = createClient({
    url: "ws://gateway/realtime",
    getToken: () => "token",
    store: memoryStore(),
  });
  const document = client.open<{ title: string }>("event", "1");
  document.create({ title: "New" });
  await document.stored();
  await vi.waitFor(() => expect(client.connection.snapshot.state).toBe("reconnecting"), 100_000);
  expect(document.snapshot).toMatchObject({ view: { title: "New" }, pending: 1, isStored: true });
  await client.close();
});

test("types: a document's view is what it was opened as", () => {
  interface Event {
    title: string;
  }
  type Opened = ReturnType<typeof openEvent>;
  const openEvent = (client: Client) => client.open<Event>("event", "1");
  expectTypeOf<Opened>().toEqualTypeOf<SharedDocument<Event>>();
  expectTypeOf<Opened["snapshot"]>().toEqualTypeOf<DocumentSnapshot<Event>>();
  expectTypeOf<Opened["snapshot"]["view"]>().toEqualTypeOf<Event | null>();
  expectTypeOf<Opened>().toExtend<Readable<DocumentSnapshot<Event>>>();
  expectTypeOf<Opened["presence"]["snapshot"]["others"]>().toEqualTypeOf<readonly Presence[]>();
  expectTypeOf<Parameters<Opened["create"]>>().toEqualTypeOf<[value: Event]>();
  expectTypeOf<Parameters<Opened["set"]>[1]>().toEqualTypeOf<Json>();
  expectTypeOf<Awaited<ReturnType<Store["read"]>>>().toEqualTypeOf<Json | undefined>();
});
