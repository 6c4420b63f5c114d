/** What a registry holds, and when it lets that go. */

import { type Client, eventsOf, type Json, memoryStore } from "@collab/client";
import { expect, test, vi } from "vitest";
import type { LiveCalendar } from "../src/calendars.js";
import type { DocumentContext, Sender } from "../src/documents/context.js";
import type { Document } from "../src/documents/document.js";
import { environmentOf } from "../src/environment.js";
import { Registry } from "../src/registry.js";
import { Keeper } from "../src/store/keeper.js";
import type { Message, Payload } from "../src/wire.js";
import { gate } from "./support/gate.js";

async function registryOf(values = new Map<string, Json>(), connection: Partial<DocumentContext> = {}) {
  const environment = environmentOf({ locks: null, channel: null });
  const keeper = new Keeper(memoryStore(values), environment, () => {});
  await keeper.own(async () => {});
  const context = {
    environment,
    keeper,
    clientId: () => "ann",
    strategies: () => ({}),
    link: () => null,
    isVisible: () => true,
    nudge: () => {},
    onChanged: () => {},
    ...connection,
  };
  return new Registry(context as unknown as DocumentContext, async () => {});
}

/** A connection, once it is there, on which each message has its answer. */
function connectionOf(answers: Record<string, Message>) {
  let link: Sender | null = null;
  const { isReached: isWanted, pass } = gate();
  const connect = (registry: Registry) => {
    const send: Sender["send"] = (type) => {
      const answer = answers[type];
      if (answer) queueMicrotask(() => registry.onMessage(answer));
      return "";
    };
    link = { features: [], limits: {}, send };
    registry.onOnline(link);
  };
  return { isWanted, connect, context: { link: () => link, nudge: () => void pass() } };
}

const message = (type: string, payload: Payload): Message => ({
  type,
  id: "",
  timestamp: 0,
  payload: { resource_type: "event", resource_id: "1", ...payload },
});

/** A store with an edit that waits, as a client left it. */
async function withEdit(): Promise<Map<string, Json>> {
  const values = new Map<string, Json>();
  const document = (await registryOf(values)).open("event", "1");
  document.create({ title: "Waits" });
  await document.stored();
  return values;
}

test("a document that has nothing to send when it is opened for that is let go", async () => {
  const registry = await registryOf();
  const document = registry.open("event", "1");
  document.begin();
  document.state.refresh();
  await document.ready();
  registry.openQueued("event:1");
  document.close();
  await document.until(({ status }) => status === "closed");
  expect(registry.documents).toEqual([]);
});

test("a document that has something to send is opened for that once, and again when it has something again", async () => {
  const { isWanted, connect, context } = connectionOf({
    SUBSCRIBE: message("SUBSCRIBE_ACK", { version: 0, epoch: 1, role: "editor", state: null }),
    OP: message("OP_ACK", { id: "op-1", version: 1 }),
  });
  const registry = await registryOf(await withEdit(), context);
  const open = vi.spyOn(registry, "open");
  for (let lead = 0; lead < 2; lead++) registry.openQueued("event:1");
  expect(open).toHaveBeenCalledTimes(1);
  const [document] = registry.documents as [Document];
  await isWanted;
  registry.openQueued("event:1");
  expect(open).toHaveBeenCalledTimes(1);
  expect(document.snapshot).toMatchObject({ status: "ready", view: { title: "Waits" }, pending: 1 });
  connect(registry);
  await document.until(({ status }) => status === "closed");
  registry.openQueued("event:1");
  expect(open).toHaveBeenCalledTimes(2);
});

test("a document that is let go twice while it ends is listened to no more", async () => {
  const registry = await registryOf();
  const document = registry.open("event", "1");
  const listening = new Set<() => void>();
  const subscribe: Document["subscribe"] = (listener) => {
    const end = document.state.cell.subscribe(listener);
    listening.add(listener);
    return () => {
      listening.delete(listener);
      end();
    };
  };
  Object.assign(document, { subscribe });
  document.close();
  registry.open("event", "1").close();
  await document.until(({ status }) => status === "closed");
  expect(listening.size).toBe(0);
});

test("who closes a document again after it has ended closes no other that was opened there since", async () => {
  const registry = await registryOf();
  const old = registry.open("event", "1");
  old.close();
  await old.until(({ status }) => status === "closed");
  const next = registry.open("event", "1");
  old.close();
  expect(next.holders).toBe(1);
});

test("where the part for calendars can't be loaded and nothing else is polled, a poll has no answer", async () => {
  vi.resetModules();
  vi.doMock("../src/listings.js", () => {
    throw new TypeError("Failed to fetch dynamically imported module");
  });
  const registry = await registryOf(new Map(), { onProblem: () => {} });
  registry.calendar("team");
  await expect(registry.poll(() => true, true)).rejects.toThrow();
  vi.doUnmock("../src/listings.js");
});

test("who closes a document again while it is still to be sent doesn't close it for who opens it next", async () => {
  const registry = await registryOf(await withEdit());
  const document = registry.open("event", "1");
  await document.ready();
  for (let close = 0; close < 2; close++) document.close();
  expect(registry.open("event", "1")).toBe(document);
  expect(document.holders).toBe(1);
});

test("who closes a calendar again closes no other that was opened since", async () => {
  const registry = await registryOf(new Map(), { onProblem: () => {} });
  const old = registry.calendar("team") as LiveCalendar;
  old.close();
  const next = registry.calendar("team") as LiveCalendar;
  old.close();
  expect(registry.calendar("team")).toBe(next);
  expect(next.holders).toBe(2);
});

test("who closes summaries twice lets go once of what others have open", async () => {
  const registry = await registryOf();
  const document = registry.open("event", "1");
  const summaries = eventsOf(registry as object as Client, ["1"]);
  for (let close = 0; close < 2; close++) summaries.close();
  expect(document.holders).toBe(1);
});
