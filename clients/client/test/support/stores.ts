/** Stores in trouble. */

import { type Store, StoreFullError } from "@collab/client";

/** A store that takes nothing while there is no room. */
export function filling(inner: Store) {
  const room = { isFull: false };
  const write: Store["write"] = (changes) =>
    room.isFull ? Promise.reject(new StoreFullError("no room")) : inner.write(changes);
  return { room, store: { ...inner, write } };
}
