import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient, type Store } from "@collab/client";
import * as clientOfNode from "@collab/client/node";
import { afterEach, beforeEach, expect, it } from "vitest";
import { bridgedStore } from "../store.mjs";
import { run } from "./electron.js";

type Files = Record<string, (...given: unknown[]) => Promise<unknown>>;

/** Electron's bridge clones what crosses it, both ways. */
function bridged(exposed: Files): Files {
  const across =
    (name: string) =>
    async (...given: unknown[]) =>
      structuredClone(await exposed[name]?.(...structuredClone(given)));
  return Object.fromEntries(Object.keys(exposed).map((name) => [name, across(name)]));
}

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "electron-"));
  process.argv.push(`--store=${folder}`);
});

afterEach(() => {
  process.argv.pop();
  rmSync(folder, { recursive: true });
});

/** Runs the preload script as Electron would, and gives what a page sees of it. */
function preloaded(): Store {
  let seen: Files = {};
  const contextBridge = {
    exposeInMainWorld: (_: string, exposed: Files) => {
      seen = bridged(exposed);
    },
  };
  run("preload.cjs", { electron: { contextBridge }, "@collab/client/node": clientOfNode });
  return bridgedStore(seen) as Store;
}

it("keeps what the client stores in files, and the next start has it", async () => {
  const options = {
    url: "ws://127.0.0.1:9/realtime",
    getToken: () => "token",
    userId: "ann",
    connect: false,
  };
  const store = preloaded();
  await store.write(new Map([["doc/event:2", { old: true }]]));
  await store.write(new Map([["doc/event:2", undefined]]));
  expect(await store.read("doc/event:2")).toBeUndefined();
  const client = createClient({ ...options, store });
  await client.close();
  expect(readdirSync(folder)).not.toEqual([]);
  const again = createClient({ ...options, store: preloaded() });
  await again.close();
  expect(again.clientId).toBe(client.clientId);
});
