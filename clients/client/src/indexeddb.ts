/** What only browsers have: a store in their IndexedDB, one database, one object store, keys and values as they are. */

import type { Json, Store } from "./api.js";
import { Listeners } from "./cell.js";
import { StoreCorruptError, StoreFullError } from "./errors.js";

const RECORDS = "records";

/** Opened at the first use. `factory` is `globalThis.indexedDB` unless given. */
export function indexedDbStore(name: string, factory: IDBFactory = globalThis.indexedDB): Store {
  const closed = new Listeners();
  let opened: Promise<IDBDatabase> | null = null;
  const forget = () => {
    opened = null; // the next use opens it again
  };
  const onClosed = () => {
    forget();
    closed.tell();
  };
  const database = (): Promise<IDBDatabase> => {
    opened ??= open(factory, name, onClosed);
    opened.catch(forget);
    return opened;
  };

  async function run<R>(
    mode: IDBTransactionMode,
    work: (records: IDBObjectStore) => IDBRequest<R> | null,
  ): Promise<R> {
    // Browsers' own choice is done before the disk has it.
    const transaction = (await database()).transaction(RECORDS, mode, { durability: "strict" });
    let request: IDBRequest<R> | null;
    try {
      request = work(transaction.objectStore(RECORDS));
    } catch (error) {
      transaction.abort();
      throw told(error as DOMException);
    }
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(request?.result as R);
      transaction.onabort = () => reject(told(transaction.error ?? request?.error));
    });
  }

  return {
    name,
    read: (key) => run<Json | undefined>("readonly", (records) => records.get(key)),
    write: (changes) =>
      run<never>("readwrite", (records) => {
        for (const [key, value] of changes) {
          if (value === undefined) records.delete(key);
          else records.put(value, key);
        }
        return null;
      }),
    keys: async (prefix) => {
      const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
      return (await run("readonly", (records) => records.getAllKeys(range))) as string[];
    },
    watch: (listener) => closed.add(listener),
    close: async () => {
      const wasOpened = opened;
      opened = null;
      (await wasOpened?.catch(() => null))?.close();
    },
  };
}

function open(factory: IDBFactory, name: string, onClosed: () => void): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = factory.open(name, 1);
    request.onupgradeneeded = () => void request.result.createObjectStore(RECORDS);
    request.onerror = () => reject(told(request.error));
    request.onsuccess = () => {
      const database = request.result;
      // Another tab may want to delete or upgrade it: this one mustn't be in the way.
      database.onversionchange = () => {
        database.close();
        onClosed();
      };
      database.onclose = onClosed; // by the browser: the site's data was cleared, or the connection is lost
      resolve(database);
    };
  });
}

/** The browser's error as the contract of `Store` has it. */
function told(error: DOMException | null | undefined): Error {
  const message = error?.message ?? "the transaction was aborted";
  if (error?.name === "QuotaExceededError") return new StoreFullError(message, { cause: error });
  if (error?.name === "DataError" || error?.name === "NotReadableError") {
    return new StoreCorruptError(message, { cause: error });
  }
  return error ?? new Error(message);
}
