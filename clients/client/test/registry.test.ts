/** What a registry holds, without a connection. */

import { memoryStore } from "@collab/client";
import { expect, test } from "vitest";
import type { DocumentContext } from "../src/documents/context.js";
import { environmentOf } from "../src/environment.js";
import { Registry } from "../src/registry.js";
import { Keeper } from "../src/store/keeper.js";

test("a document that has nothing to send when it is opened for that is let go", async () => {
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
  const registry = new Registry(context as unknown as DocumentContext, async () => {});
  const document = registry.open("event", "1");
  document.begin();
  document.state.refresh();
  await document.ready();
  registry.openQueued("event:1");
  document.close();
  await document.until(({ status }) => status === "closed");
  expect(registry.documents).toEqual([]);
});
