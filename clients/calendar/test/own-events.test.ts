/** Events that were changed here, on a real client that works offline. */

import { createClient, type Json, memoryStore } from "@collab/client";
import { afterEach, beforeEach, expect, test } from "vitest";
import { OwnEvents } from "../src/own-events.js";

const open = () =>
  createClient({
    url: "ws://gateway/realtime",
    getToken: () => "token",
    connect: false,
    store: memoryStore(),
    environment: { locks: null, channel: null },
  });

let client: ReturnType<typeof open>;

beforeEach(() => {
  client = open();
});
afterEach(() => client.close());

/** As the month has an event that is this document. */
function shown(event: Json) {
  client.open<Json>("event", "lunch").create({ calendar_id: "demo", ...(event as object) });
  const events = new OwnEvents(client);
  events.open("lunch");
  return events.snapshot.get("lunch");
}

test("of an event as much is shown as the gateway tells: of texts their first 300 characters", () => {
  expect(shown({ title: "\u{1f370}".repeat(301), end_time: "x".repeat(400) })).toMatchObject({
    title: "\u{1f370}".repeat(300),
    start_time: null,
    end_time: "x".repeat(300),
  });
});

test("what isn't a text isn't told, nor shown", () => {
  const none = { title: null, start_time: null, end_time: null };
  expect(shown({ title: 1, start_time: 2, end_time: ["2026-01-05T09:00:00Z"] })).toMatchObject(none);
});
