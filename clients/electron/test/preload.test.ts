import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient, type Store, StoreCorruptError, StoreFullError } from "@collab/client";
import * as clientOfNode from "@collab/client/node";
import { afterEach, beforeEach, expect, it } from "vitest";
import { bridgedStore } from "../store.mjs";
import { run } from "./electron.js";

type Files = Record<string, (...given: unknown[]) => Promise<unknown>>;

/** Electron's bridge clones what crosses it, both ways; of an error only the message comes. */
function bridged(exposed: Files): Files {
  const across =
    (name: string) =>
    async (...given: unknown[]) => {
      try {
        return structuredClone(await exposed[name]?.(...structuredClone(given)));
      } catch (error) {
        throw new Error((error as Error).message);
      }
    };
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

it("says of what kind a failure is: a full disk, a damaged file, another", async () => {
  const store = preloaded();
  symlinkSync("/dev/full", join(folder, "full.json.new")); // whoever writes there meets a full disk
  await expect(store.write(new Map([["full", 1]]))).rejects.toBeInstanceOf(StoreFullError);
  writeFileSync(join(folder, "damaged.json"), "{");
  await expect(store.read("damaged")).rejects.toBeInstanceOf(StoreCorruptError);
  symlinkSync(folder, join(folder, "other.json"));
  await expect(store.read("other")).rejects.toThrow("EISDIR");
});
