/** A store whose code is loaded at its first use. */

import type { Store } from "../api.js";
import { lazy } from "../lazy.js";

export function deferredStore(name: string, load: () => Promise<Store>): Store {
  const loaded = lazy(load);
  let used: Promise<Store> | undefined;
  const store = () => (used = loaded());
  return {
    name,
    read: async (key) => (await store()).read(key),
    write: async (changes) => (await store()).write(changes),
    keys: async (prefix) => (await store()).keys(prefix),
    close: async () => {
      await (await used)?.close();
    },
  };
}
