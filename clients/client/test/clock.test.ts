/** A device whose clock is set back while a client works. */

import { createClient, memoryStore } from "@collab/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakePlatform } from "./support/fake.js";
import type { Event } from "./support/people.js";

const HOUR_MS = 3_600_000;
const ID = { resource: "event", resource_type: "event", resource_id: "1" };

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("typing goes out, the others see it, and a silent server is found out, whatever the clock says", async () => {
  const platform = new FakePlatform();
  const environment = platform.environment();
  const options = {
    url: "ws://gateway/realtime",
    getToken: () => "token",
    store: memoryStore(),
    environment,
  };
  const client = createClient(options);
  const document = client.open<Event>("event", "1");
  await vi.advanceTimersByTimeAsync(0);
  platform.socket.admit();
  await vi.advanceTimersByTimeAsync(0);
  const state = { title: "Sync", description: "" };
  platform.socket.tell("SUBSCRIBE_ACK", { ...ID, version: 5, epoch: 1, role: "editor", state });
  document.setText("/description", "a");
  document.presence.setCursor({ field: "title", position: 1 });
  await vi.advanceTimersByTimeAsync(1_000);
  platform.socket.tell("OP_ACK", { ...ID, id: "op-1", version: 6 });
  vi.setSystemTime(Date.now() - HOUR_MS);
  document.setText("/description", "ab");
  document.presence.setCursor({ field: "title", position: 2 });
  await vi.advanceTimersByTimeAsync(1_000);
  expect(platform.socket.last("OP")?.id).toBe("op-2");
  expect(platform.socket.last("PRESENCE_UPDATE")?.payload).toMatchObject({ cursor: { position: 2 } });
  await vi.advanceTimersByTimeAsync(32_000);
  expect(client.connection.snapshot.state).toBe("reconnecting");
  await client.close();
});
