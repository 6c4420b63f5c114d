// @vitest-environment jsdom
/** A text with CR LF, on a real client that works offline. */

import { createClient, memoryStore } from "@collab/client";
import { renderHook } from "@testing-library/react";
import { expect, test } from "vitest";
import type { EventDocument } from "../src/event.js";
import { useLineFeeds } from "../src/line-feeds.js";

test("a text whose line feeds come back, as where that edit is refused, is tidied once each time somebody goes to it", async () => {
  const client = createClient({
    url: "ws://gateway/realtime",
    getToken: () => "token",
    connect: false,
    store: memoryStore(),
    environment: { locks: null, channel: null },
  });
  const event = client.open<EventDocument>("event", "1");
  event.create({ description: "one\r\ntwo" });
  const field = document.body.appendChild(document.createElement("textarea"));
  const { unmount } = renderHook(() => useLineFeeds(event, "/description", { current: field }));
  const text = () => event.snapshot.view?.description;
  field.focus();
  expect(text()).toBe("one\ntwo");
  event.edit({ op: "text", path: "/description", value: [3, "\r"] }, false);
  expect(text()).toBe("one\r\ntwo");
  field.blur();
  field.focus();
  expect(text()).toBe("one\ntwo");
  unmount();
  await client.close();
});
