/** What the browser keeps for a tab, or for all of them; nothing, and no error, where site data is blocked or full. */

export interface Kept {
  get(key: string): string | null;
  /** Null forgets it. */
  set(key: string, value: string | null): void;
}

/** Where site data is blocked, it is the way to the storage that throws. */
function kept(storage: () => Storage): Kept {
  return {
    get(key) {
      try {
        return storage().getItem(key);
      } catch {
        return null;
      }
    },
    set(key, value) {
      try {
        if (value === null) storage().removeItem(key);
        else storage().setItem(key, value);
      } catch {
        // What isn't kept is asked for again.
      }
    },
  };
}

/** What ends with the page isn't kept. */
export const ofThisPage: Kept = { get: () => null, set() {} };
export const ofThisTab = kept(() => sessionStorage);
export const ofThisBrowser = kept(() => localStorage);

/** Can tabs share a store? Not where site data is blocked; and without locks, as over plain HTTP from another host, none may. */
export function isStoreShared(): boolean {
  try {
    return Boolean(localStorage && globalThis.indexedDB && navigator.locks);
  } catch {
    return false;
  }
}
