/** A store that lives as long as its client: for tests, and where nothing durable is to be had. */

import type { Json, Store } from "../api.js";

export function memoryStore(values: Map<string, Json> = new Map()): Store {
  return {
    read: async (key) => values.get(key),
    write: async (changes) => {
      for (const [key, value] of changes) {
        if (value === undefined) values.delete(key);
        else values.set(key, value);
      }
    },
    keys: async (prefix) => [...values.keys()].filter((key) => key.startsWith(prefix)),
    close: async () => {},
  };
}
