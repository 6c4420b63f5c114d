/** What a registry holds, without a connection. */

import { memoryStore } from "@collab/client";
import { expect, test, vi } from "vitest";
import type { DocumentContext } from "../src/documents/context.js";
import { environmentOf } from "../src/environment.js";
import { Registry } from "../src/registry.js";
import { Keeper } from "../src/store/keeper.js";

function registryOf() {
  const environment = environmentOf({ locks: null, channel: null });
  const keeper = new Keeper(memoryStore(), environment, () => {});
  const context = {
    environment,
    keeper,
    clientId: () => "ann",
    strategies: () => ({}),
    link: () => null,
    nudge: () => {},
    onChanged: () => {},
  };
  return new Registry(context as unknown as DocumentContext, async () => {});
}

test("a document that has nothing to send when it is opened for that is let go", async () => {
  const registry = registryOf();
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
  const registry = registryOf();
  const open = vi.spyOn(registry, "open");
  for (let lead = 0; lead < 2; lead++) registry.openQueued("event:1");
  expect(open).toHaveBeenCalledTimes(1);
  const [document] = registry.documents;
  document?.begin();
  document?.state.refresh();
  await document?.until(({ status }) => status === "closed");
  registry.openQueued("event:1");
  expect(open).toHaveBeenCalledTimes(2);
});
