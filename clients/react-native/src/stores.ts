/** Durable stores on what React Native has: AsyncStorage, or SQLite for more than a few megabytes. */

import { type Json, type Store, StoreCorruptError, StoreFullError } from "@collab/client";

/** `@react-native-async-storage/async-storage`, as far as it is used. */
export interface AsyncStorageLike {
  getItem(key: string): Promise<string | null>;
  setItem(key: string, value: string): Promise<unknown>;
  removeItem(key: string): Promise<unknown>;
  getAllKeys(): Promise<readonly string[]>;
}

/** A database of `expo-sqlite`, or another one with these methods. */
export interface SqliteLike {
  execAsync(source: string): Promise<unknown>;
  runAsync(source: string, ...parameters: (string | null)[]): Promise<unknown>;
  getAllAsync<Row>(source: string, ...parameters: (string | null)[]): Promise<Row[]>;
  closeAsync?(): Promise<unknown>;
}

/** SQLite says so on iOS and Android, below AsyncStorage too. */
const FULL = /SQLITE_FULL|disk is full|quota|no space/i;

const told = (error: unknown): unknown =>
  FULL.test(String(error)) ? new StoreFullError(`no room: ${error}`, { cause: error }) : error;

/** One after the other, whatever became of the one before. */
function inTurn(): <Result>(work: () => Promise<Result>) => Promise<Result> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = last.then(work).catch((error) => Promise.reject(told(error)));
    last = done.catch(() => {});
    return done;
  };
}

/** A stored value; one that can't be read is set aside by `aside`. */
async function parsed(key: string, text: string, aside: () => Promise<unknown>): Promise<Json> {
  try {
    return JSON.parse(text) as Json;
  } catch (cause) {
    await aside();
    throw new StoreCorruptError(`${key} is not JSON; it was set aside`, { cause });
  }
}

/**
 * A store in AsyncStorage, under keys that begin with `prefix`: one for each user. Of a `write` of several keys
 * a crash may leave some. Android's holds 6 MB, and no value over 2 MB: use `sqliteStore` for more.
 */
export function asyncStorageStore(storage: AsyncStorageLike, prefix = "collab/"): Store {
  const run = inTurn();
  return {
    read: (key) =>
      run(async () => {
        const text = await storage.getItem(prefix + key);
        if (text === null) return undefined;
        return parsed(key, text, async () => {
          await storage.setItem(`${prefix}corrupt/${key}`, JSON.stringify(text));
          await storage.removeItem(prefix + key);
        });
      }),
    write: (changes) =>
      run(async () => {
        for (const [key, value] of changes) {
          if (value === undefined) await storage.removeItem(prefix + key);
          else await storage.setItem(prefix + key, JSON.stringify(value));
        }
      }),
    keys: (start) =>
      run(async () => {
        const all = (await storage.getAllKeys()).filter((key) => key.startsWith(prefix + start));
        return all.map((key) => key.slice(prefix.length));
      }),
    close: () => run(async () => {}),
  };
}

/** A store in a table of a SQLite database that is the store's own; each `write` is a transaction. */
export function sqliteStore(database: SqliteLike, table = "collab_store"): Store {
  const run = inTurn();
  const name = `"${table.replaceAll('"', '""')}"`;
  const create = `CREATE TABLE IF NOT EXISTS ${name} (key TEXT PRIMARY KEY, value TEXT NOT NULL)`;
  let isMade = false;
  const put = `INSERT INTO ${name} VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`;

  /** Where it can't be made (a full disk, a lock), whoever reads or writes next tries again. */
  async function makeTable(): Promise<void> {
    if (!isMade) await database.execAsync(create);
    isMade = true;
  }

  async function write(changes: ReadonlyMap<string, Json | undefined>): Promise<void> {
    await makeTable();
    await database.execAsync("BEGIN IMMEDIATE");
    try {
      for (const [key, value] of changes) {
        if (value === undefined) await database.runAsync(`DELETE FROM ${name} WHERE key = ?`, key);
        else await database.runAsync(put, key, JSON.stringify(value));
      }
      await database.execAsync("COMMIT");
    } catch (error) {
      await database.execAsync("ROLLBACK").catch(() => {});
      throw error;
    }
  }

  return {
    read: (key) =>
      run(async () => {
        await makeTable();
        const query = `SELECT value FROM ${name} WHERE key = ?`;
        const [row] = await database.getAllAsync<{ value: string }>(query, key);
        if (!row) return undefined;
        const aside = `UPDATE OR REPLACE ${name} SET key = 'corrupt/' || key, value = json_quote(value) WHERE key = ?`;
        return parsed(key, row.value, () => database.runAsync(aside, key));
      }),
    write: (changes) => run(() => write(changes)),
    keys: (start) =>
      run(async () => {
        await makeTable();
        const query = `SELECT key FROM ${name} WHERE substr(key, 1, length(?)) = ?`;
        const rows = await database.getAllAsync<{ key: string }>(query, start, start);
        return rows.map(({ key }) => key);
      }),
    close: () => run(async () => void (await database.closeAsync?.())),
  };
}
