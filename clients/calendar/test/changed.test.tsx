// @vitest-environment jsdom
/** The month on a real client that works offline: which events were changed here, and are kept. */

import { createClient, memoryStore } from "@collab/client";
import { GatewayProvider } from "@collab/react";
import { act, cleanup, configure, renderHook, waitFor } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, expect, test } from "vitest";
import { createEvent } from "../src/event.js";
import { useEvents } from "../src/events.js";
import { ofThisBrowser } from "../src/kept.js";

configure({ asyncUtilTimeout: 100_000 });

const store = memoryStore();

afterEach(() => {
  cleanup();
  localStorage.clear();
});

/** The month in a tab; `make` makes an event there. */
function open() {
  const client = createClient({
    url: "ws://gateway/realtime",
    getToken: () => "token",
    connect: false,
    store,
    environment: { locks: null, channel: null },
  });
  const wrapper = ({ children }: { children: ReactNode }) => (
    <GatewayProvider client={client}>{children}</GatewayProvider>
  );
  const { result, unmount } = renderHook(() => useEvents("ann", ofThisBrowser), { wrapper });
  const make = () => act(async () => result.current.changed(createEvent(client, new Date())));
  const leave = async () => {
    unmount();
    await client.close();
  };
  return { result, make, leave };
}

test("an event that was made offline is in the month after its tab was left, and another tab's too", async () => {
  const [one, other] = [open(), open()];
  await one.make();
  await other.make();
  await one.make();
  await one.leave();
  await other.leave();
  const { result, leave } = open();
  await waitFor(() => expect(result.current.items).toHaveLength(3));
  await leave();
});

test("after a reload what was changed offline is in the month at once", async () => {
  const before = open();
  await before.make();
  await waitFor(() => expect(before.result.current.items).toHaveLength(1));
  dispatchEvent(new Event("pagehide"));
  await before.leave();
  const { result, leave } = open();
  expect(result.current.items).toEqual(before.result.current.items);
  await leave();
});
