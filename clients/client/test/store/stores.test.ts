/** One contract for every store, and what each of them does in trouble. */

import "fake-indexeddb/auto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Json, memoryStore, type Store, StoreCorruptError, StoreFullError } from "@collab/client";
import { indexedDbStore } from "@collab/client/indexeddb";
import { fileStore } from "@collab/client/node";
import { forceCloseDatabase } from "fake-indexeddb";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";

const directory = mkdtempSync(join(tmpdir(), "store-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let count = 0;

const STORES: [string, () => () => Store][] = [
  [
    "memory",
    () => {
      const values = new Map<string, Json>();
      return () => memoryStore(values);
    },
  ],
  [
    "IndexedDB",
    () => {
      const name = `store ${++count}`;
      return () => indexedDbStore(name);
    },
  ],
  [
    "files",
    () => {
      const folder = join(directory, String(++count));
      return () => fileStore(folder);
    },
  ],
];

describe.each(STORES)("a store in %s", (_name, make) => {
  const opened: Store[] = [];
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
  });
  const open = (place: () => Store) => {
    const store = place();
    opened.push(store);
    return store;
  };

  test("keeps what was written for whoever opens it next", async () => {
    const place = make();
    const first = open(place);
    const value = { text: "ü 🎂", list: [1, null, true], nested: { a: {} } };
    await first.write(new Map<string, Json>([["doc/event:1", value]]));
    await first.close();
    const second = open(place);
    expect(await second.read("doc/event:1")).toEqual(value);
    expect(await second.read("doc/event:2")).toBeUndefined();
  });

  test("writes several at once, and undefined deletes", async () => {
    const store = open(make());
    await store.write(
      new Map<string, Json>([
        ["a", 1],
        ["b", 2],
      ]),
    );
    await store.write(
      new Map<string, Json | undefined>([
        ["a", undefined],
        ["b", 3],
      ]),
    );
    expect(await store.read("a")).toBeUndefined();
    expect(await store.read("b")).toBe(3);
  });

  test("lists keys by their beginning, whatever is in them", async () => {
    const store = open(make());
    const keys = ["queue/event:a.b~c:@-1", "queue/event:2", "doc/event:2"];
    await store.write(new Map(keys.map((key) => [key, 1])));
    expect((await store.keys("queue/")).sort()).toEqual(["queue/event:2", "queue/event:a.b~c:@-1"]);
  });

  test("the last of writes that overlap wins", async () => {
    const store = open(make());
    const writes = Array.from({ length: 20 }, (_, value) => store.write(new Map([["a", value]])));
    await Promise.all(writes);
    expect(await store.read("a")).toBe(19);
  });
});

describe("files of keys that differ in case", () => {
  const keys = ["doc/event:Ab", "doc/event:aB"];

  test("are two where names that differ in case are one", async () => {
    const folder = join(directory, String(++count));
    const store = fileStore(folder);
    await store.write(new Map(keys.map((key) => [key, key])));
    expect(new Set(readdirSync(folder).map((file) => file.toLowerCase())).size).toBe(2);
    expect((await store.keys("doc/")).sort()).toEqual(keys);
    for (const key of keys) expect(await store.read(key)).toBe(key);
  });

  test("are two where there is no room to escape their capitals", async () => {
    const folder = join(directory, String(++count));
    const long = ["Id", "iD", "ID", "id"].map((name) => `docs/calendar:~${name.repeat(63)}`);
    const store = fileStore(folder);
    for (const key of long) await store.write(new Map([[key, key]]));
    expect(new Set(readdirSync(folder).map((file) => file.toLowerCase())).size).toBe(4);
    const again = fileStore(folder);
    expect((await again.keys("docs/")).sort()).toEqual([...long].sort());
    for (const key of long) expect(await again.read(key)).toBe(key);
    expect(readdirSync(folder)).toHaveLength(4);
  });

  test("are found under the names that they had, and have one name afterwards", async () => {
    const folder = join(directory, String(++count));
    mkdirSync(folder);
    const before = keys.map((key) => [key, `${encodeURIComponent(key)}.json`] as const);
    for (const [key, file] of before) writeFileSync(join(folder, file), JSON.stringify(key));
    const store = fileStore(folder);
    for (const key of keys) expect(await store.read(key)).toBe(key);
    await store.write(new Map([[keys[0] as string, undefined]]));
    expect(await fileStore(folder).keys("")).toEqual([keys[1]]);
    expect(readdirSync(folder)).toHaveLength(1);
  });

  test("are written, found from before and set aside where their names are as long as names may be", async () => {
    const folder = join(directory, String(++count));
    mkdirSync(folder);
    const long = ["queue", "corrupt/doc"].map((name) => `${name}/calendar:${"ID".repeat(64)}`);
    const [before, fresh] = long as [string, string];
    writeFileSync(join(folder, `${encodeURIComponent(before)}.json`), "1");
    const store = fileStore(folder);
    expect(await store.read(before)).toBe(1);
    await store.write(
      new Map([
        [fresh, 2],
        ["doc/event:1", 3],
      ]),
    );
    expect((await fileStore(folder).keys("")).sort()).toEqual([fresh, "doc/event:1", before]);
    for (const file of readdirSync(folder)) writeFileSync(join(folder, file), '{"half":');
    for (const key of long) await expect(store.read(key)).rejects.toBeInstanceOf(StoreCorruptError);
  });

  test("are set aside where their escaped names leave no room for more than `.new`", async () => {
    const folder = join(directory, String(++count));
    const key = `${"A".repeat(80)}${"a".repeat(5)}`; // 250 bytes with `.json`, of 255
    const store = fileStore(folder);
    await store.write(new Map([[key, 1]]));
    for (const file of readdirSync(folder)) writeFileSync(join(folder, file), '{"half":');
    await expect(store.read(key)).rejects.toBeInstanceOf(StoreCorruptError);
  });
});

test("a file that isn't JSON is told, and set aside", async () => {
  const folder = join(directory, "corrupt");
  const store = fileStore(folder);
  await store.write(new Map([["doc", 1]]));
  writeFileSync(join(folder, "doc.json"), '{"half":');
  await expect(store.read("doc")).rejects.toBeInstanceOf(StoreCorruptError);
  expect(await store.read("doc")).toBeUndefined();
  expect(readdirSync(folder)).toEqual(["doc.json.corrupt"]);
});

test("a directory that can't be listed isn't empty", async () => {
  expect(await fileStore(join(directory, "never written")).keys("")).toEqual([]);
  const file = join(directory, "file");
  writeFileSync(file, "");
  await expect(fileStore(file).keys("")).rejects.toMatchObject({ code: "ENOTDIR" });
});

test("files that are no store's are left alone, and hide nothing", async () => {
  const folder = join(directory, String(++count));
  mkdirSync(folder);
  const foreign = ["notes=final.json", "notes=.json", "100%.json"];
  for (const file of foreign) writeFileSync(join(folder, file), "1");
  const store = fileStore(folder);
  await store.write(new Map([["queue/event:1", 1]]));
  expect(await store.keys("")).toEqual(["queue/event:1"]);
  expect(readdirSync(folder)).toEqual(expect.arrayContaining(foreign));
});

test("a full IndexedDB is told as such", async () => {
  const store = indexedDbStore(`store ${++count}`);
  await store.write(new Map([["a", 1]]));
  const put = IDBObjectStore.prototype.put;
  IDBObjectStore.prototype.put = () => {
    throw new DOMException("no room", "QuotaExceededError");
  };
  try {
    await expect(store.write(new Map([["a", 2]]))).rejects.toBeInstanceOf(StoreFullError);
  } finally {
    IDBObjectStore.prototype.put = put;
  }
  expect(await store.read("a")).toBe(1);
  await store.close();
});

test.each([
  ["that was deleted", (database: IDBDatabase) => indexedDB.deleteDatabase(database.name)],
  [
    "that the browser closed, to delete it,",
    (database: IDBDatabase) => {
      forceCloseDatabase(database as never);
      indexedDB.deleteDatabase(database.name);
    },
  ],
  ["that the browser closed", (database: IDBDatabase) => forceCloseDatabase(database as never)],
])("an IndexedDB %s is told of, and opened again", async (_name, close) => {
  let database: IDBDatabase | undefined;
  const factory = Object.create(indexedDB, {
    open: {
      value: (name: string, version: number) => {
        const request = indexedDB.open(name, version);
        request.addEventListener("success", () => {
          database = request.result;
        });
        return request;
      },
    },
  }) as IDBFactory;
  const store = indexedDbStore(`store ${++count}`, factory);
  const [told, toldNoMore] = [vi.fn(), vi.fn()];
  store.watch?.(told);
  store.watch?.(toldNoMore)();
  await store.write(new Map([["a", 1]]));
  const closed = database as unknown as IDBDatabase;
  close(closed);
  await vi.waitFor(() => expect(() => closed.transaction("records")).toThrow(), 100_000);
  expect(told).toHaveBeenCalledTimes(1);
  expect(toldNoMore).not.toHaveBeenCalled();
  await store.write(new Map([["a", 2]]));
  expect(await store.read("a")).toBe(2);
  await store.close();
});

test("what IndexedDB has written is on the disk when it counts as stored", async () => {
  const begun = vi.spyOn(IDBDatabase.prototype, "transaction");
  const store = indexedDbStore(`store ${++count}`);
  await store.write(new Map([["a", 1]]));
  const transaction: IDBTransaction = begun.mock.results.at(-1)?.value;
  expect(transaction.durability).toBe("strict");
  begun.mockRestore();
  await store.close();
});
