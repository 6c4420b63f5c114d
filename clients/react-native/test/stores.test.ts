import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Json, type Store, StoreCorruptError, StoreFullError } from "@collab/client";
import { type AsyncStorageLike, asyncStorageStore, type SqliteLike, sqliteStore } from "../src/stores.js";

/** AsyncStorage's promises over a Map. */
class Storage implements AsyncStorageLike {
  readonly items = new Map<string, string>();
  error: Error | null = null;

  async getItem(key: string): Promise<string | null> {
    return this.items.get(key) ?? null;
  }

  async setItem(key: string, value: string): Promise<void> {
    if (this.error) throw this.error;
    this.items.set(key, value);
  }

  async removeItem(key: string): Promise<void> {
    this.items.delete(key);
  }

  async getAllKeys(): Promise<string[]> {
    return [...this.items.keys()];
  }
}

interface Statement {
  all(...parameters: (string | null)[]): unknown[];
  run(...parameters: (string | null)[]): unknown;
}
interface Sqlite {
  DatabaseSync: new (
    path: string,
  ) => { exec(source: string): void; prepare(source: string): Statement; close(): void };
}

// Jest doesn't know modules that exist with the prefix only; Node 20 doesn't have this one, that of CI does.
const sqlite = process.getBuiltinModule?.("node:sqlite") as unknown as Sqlite | undefined;

/** SQLite itself, behind the methods of expo-sqlite. */
function opened(path: string): SqliteLike {
  const database = new (sqlite as Sqlite).DatabaseSync(path);
  return {
    execAsync: async (source) => database.exec(source),
    runAsync: async (source, ...parameters) => database.prepare(source).run(...parameters),
    getAllAsync: async <Row>(source: string, ...parameters: (string | null)[]) =>
      database.prepare(source).all(...parameters) as Row[],
    closeAsync: async () => database.close(),
  };
}

const changes = (values: Record<string, Json | undefined>) => new Map(Object.entries(values));

/** What every store does. */
function holds(open: () => Store): void {
  it("gives back what was written, and nothing that was deleted", async () => {
    const store = open();
    await store.write(changes({ "doc/event:1": { title: "Tea 😀" }, "queue/event:1": 1, other: [null] }));
    await store.write(changes({ "queue/event:1": undefined, other: "new" }));
    expect(await store.read("doc/event:1")).toEqual({ title: "Tea 😀" });
    expect(await store.read("queue/event:1")).toBeUndefined();
    expect(await store.read("other")).toBe("new");
    await store.close();
  });

  it("lists keys by what they begin with", async () => {
    const store = open();
    await store.write(changes({ "queue/event:1": 1, "queue/event:2": 1, "doc/queue/": 1, "queue%": 1 }));
    expect([...(await store.keys("queue/"))].sort()).toEqual(["queue/event:1", "queue/event:2"]);
    await store.close();
  });

  it("writes in the order in which it was asked", async () => {
    const store = open();
    await Promise.all([1, 2, 3].map((value) => store.write(changes({ key: value }))));
    expect(await store.read("key")).toBe(3);
    await store.close();
  });
}

describe("a store in AsyncStorage", () => {
  holds(() => asyncStorageStore(new Storage()));

  it("keeps users apart by their prefix", async () => {
    const storage = new Storage();
    await asyncStorageStore(storage, "ann/").write(changes({ key: 1 }));
    const other = asyncStorageStore(storage, "bob/");
    expect(await other.read("key")).toBeUndefined();
    expect(await other.keys("")).toEqual([]);
  });

  it("sets aside what can't be read, and tells", async () => {
    const storage = new Storage();
    storage.items.set("collab/doc/event:1", "{half");
    const store = asyncStorageStore(storage);
    await expect(store.read("doc/event:1")).rejects.toBeInstanceOf(StoreCorruptError);
    expect(await store.read("doc/event:1")).toBeUndefined();
    expect(await store.read("corrupt/doc/event:1")).toBe("{half");
  });

  it("tells that it is full, and works again when it isn't", async () => {
    const storage = new Storage();
    const store = asyncStorageStore(storage);
    storage.error = new Error("database or disk is full (code 13 SQLITE_FULL)");
    await expect(store.write(changes({ key: 1 }))).rejects.toBeInstanceOf(StoreFullError);
    storage.error = null;
    await store.write(changes({ key: 2 }));
    expect(await store.read("key")).toBe(2);
  });
});

(sqlite || process.env.CI ? describe : describe.skip)("a store in SQLite", () => {
  const folder = mkdtempSync(join(tmpdir(), "store-"));
  let count = 0;
  const fresh = () => join(folder, `${++count}.db`);

  afterAll(() => rmSync(folder, { recursive: true }));

  holds(() => sqliteStore(opened(fresh())));

  it("is there after the app was closed", async () => {
    const path = fresh();
    const store = sqliteStore(opened(path));
    await store.write(changes({ key: { deep: [1] } }));
    await store.close();
    expect(await sqliteStore(opened(path)).read("key")).toEqual({ deep: [1] });
  });

  it("writes all of several keys, or none", async () => {
    const database = opened(fresh());
    const store = sqliteStore(database);
    await store.write(changes({ one: 1 }));
    const run = database.runAsync;
    let writes = 0;
    database.runAsync = async (...given) => {
      if (++writes === 2) throw new Error("database or disk is full");
      return run(...given);
    };
    await expect(store.write(changes({ one: 2, two: 2 }))).rejects.toBeInstanceOf(StoreFullError);
    database.runAsync = run;
    expect(await store.read("one")).toBe(1);
    expect(await store.read("two")).toBeUndefined();
  });

  it("works as soon as its table can be made", async () => {
    const path = fresh();
    const other = opened(path);
    await other.execAsync("BEGIN IMMEDIATE"); // which locks it, as a second process may
    const store = sqliteStore(opened(path));
    await expect(store.read("key")).rejects.toThrow(/locked/);
    await other.execAsync("COMMIT");
    await store.write(changes({ key: 1 }));
    expect(await store.read("key")).toBe(1);
    await store.close();
  });

  it("sets aside what can't be read, and tells", async () => {
    const path = fresh();
    const database = opened(path);
    const store = sqliteStore(database);
    await store.write(changes({ key: 1 }));
    await database.runAsync("UPDATE collab_store SET value = ?", "{half");
    await expect(store.read("key")).rejects.toBeInstanceOf(StoreCorruptError);
    expect(await store.read("corrupt/key")).toBe("{half");
  });
});
