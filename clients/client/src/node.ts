/** What only Node and Electron's preload have: a store of files. */

import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Json, Store } from "./api.js";
import { StoreCorruptError, StoreFullError } from "./errors.js";
import { lazy } from "./lazy.js";

const END = ".json";
const CORRUPT = ".corrupt";
/** So long may a name be: file systems take 255 bytes, with the longest ending that it is given. */
const NAME_MAX = 255 - END.length - CORRUPT.length;
/** What no escaped key has: after it comes which letters of the name are upper case. */
const MARK = "=";
/** The letters of a name, and what is escaped in it. */
const LETTERS = /%..|[A-Za-z]/g;
const FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/**
 * A store of one file a key in a directory that one process uses. A write is a new file, flushed and renamed, so a
 * crash leaves the old value or the new one; of a `write` of several keys it may leave some. A file that can't
 * be parsed is renamed to `.corrupt`.
 */
export function fileStore(directory: string): Store {
  const pathOf = (key: string) => join(directory, caseless(encodeURIComponent(key)) + END);
  let writing: Promise<unknown> = Promise.resolve();

  /** What was written under names in which case counted is there under the names of today. */
  const renamed = lazy(async () => {
    for (const file of await filesIn(directory)) {
      const name = caseless(file.slice(0, -END.length)) + END;
      if (name !== file) await rename(join(directory, file), join(directory, name));
    }
  });

  async function write(changes: ReadonlyMap<string, Json | undefined>): Promise<void> {
    await renamed();
    await mkdir(directory, { recursive: true });
    for (const [key, value] of changes) {
      if (value === undefined) await rm(pathOf(key), { force: true });
      else await replace(pathOf(key), JSON.stringify(value));
    }
  }

  return {
    read: async (key) => {
      await renamed();
      return readOne(pathOf(key));
    },
    write: (changes) => {
      const done = writing.then(() => write(changes)).catch((error) => Promise.reject(told(error)));
      writing = done.catch(() => {});
      return done;
    },
    keys: async (prefix) => {
      await renamed();
      const keys = (await filesIn(directory)).map(keyOf);
      return keys.filter((key) => key?.startsWith(prefix)) as string[];
    },
    close: async () => {
      await writing;
    },
  };
}

/**
 * The name with its upper-case letters escaped: to macOS and Windows names that differ in case alone are one. Where it
 * would be too long for that, they are marked at its end; a name that is too long for that, too, stays as it is.
 */
function caseless(name: string): string {
  const escaped = name.replace(/%..|[A-Z]/g, (part) =>
    part.length > 1 ? part : `%${part.charCodeAt(0).toString(16)}`,
  );
  if (escaped.length <= NAME_MAX) return escaped;
  const marked = withMarks(name);
  return marked.length <= NAME_MAX ? marked : name;
}

/** The name in lower case, and a bit for each letter: whether it is upper case. */
function withMarks(name: string): string {
  let bits = "0b1";
  const lower = name.replace(LETTERS, (part) => {
    if (part.length > 1) return part;
    bits += part < "a" ? "1" : "0";
    return part.toLowerCase();
  });
  return `${lower}${MARK}${BigInt(bits).toString(16)}`;
}

/** Undefined of a file that is no store's. */
function keyOf(file: string): string | undefined {
  try {
    return decodeURIComponent(casedName(file.slice(0, -END.length)));
  } catch {
    return undefined;
  }
}

/** The name as it was before `caseless`, but for what that escaped. */
function casedName(file: string): string {
  const [name, marks] = file.split(MARK) as [string, string?];
  if (marks === undefined) return name;
  const bits = BigInt(`0x${marks}`).toString(2);
  let letter = 0;
  return name.replace(LETTERS, (part) => {
    if (part.length > 1) return part;
    letter += 1;
    return bits[letter] === "1" ? part.toUpperCase() : part;
  });
}

async function filesIn(directory: string): Promise<string[]> {
  const files = (await readdir(directory).catch(absent)) ?? [];
  return files.filter((file) => file.endsWith(END));
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
    await rename(path, path + CORRUPT);
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
