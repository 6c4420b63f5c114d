/** What only Node and Electron's preload have: a store of files. */

import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Json, Store } from "./api.js";
import { StoreCorruptError, StoreFullError } from "./errors.js";

const END = ".json";
const FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/**
 * A store of one file a key in a directory that one process uses. A write is a new file, flushed and renamed, so a
 * crash leaves the old value or the new one; of a `write` of several keys it may leave some. A file that can't
 * be parsed is renamed to `.corrupt`.
 */
export function fileStore(directory: string): Store {
  const pathOf = (key: string) => join(directory, encodeURIComponent(key) + END);
  let writing: Promise<unknown> = Promise.resolve();

  async function write(changes: ReadonlyMap<string, Json | undefined>): Promise<void> {
    await mkdir(directory, { recursive: true });
    for (const [key, value] of changes) {
      if (value === undefined) await rm(pathOf(key), { force: true });
      else await replace(pathOf(key), JSON.stringify(value));
    }
  }

  return {
    read: (key) => readOne(pathOf(key)),
    write: (changes) => {
      const done = writing.then(() => write(changes)).catch((error) => Promise.reject(told(error)));
      writing = done.catch(() => {});
      return done;
    },
    keys: async (prefix) => {
      const files = (await readdir(directory).catch(absent)) ?? [];
      const keys = files.filter((file) => file.endsWith(END)).map((file) => file.slice(0, -END.length));
      return keys.map(decodeURIComponent).filter((key) => key.startsWith(prefix));
    },
    close: async () => {
      await writing;
    },
  };
}

/** What was never written isn't there; of what can't be read nobody knows. */
function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}

async function readOne(path: string): Promise<Json | undefined> {
  const text = await readFile(path, "utf8").catch(absent);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    await rename(path, `${path}.corrupt`);
    throw new StoreCorruptError(`${path} is not JSON; it was renamed to .corrupt`, { cause: error });
  }
}

async function replace(path: string, text: string): Promise<void> {
  const fresh = `${path}.new`;
  const file = await open(fresh, "w");
  try {
    await file.writeFile(text);
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(fresh, path);
}

function told(error: NodeJS.ErrnoException): Error {
  if (!FULL.has(error.code ?? "")) return error;
  return new StoreFullError(`no room: ${error.message}`, { cause: error });
}
