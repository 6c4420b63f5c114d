/** A list that is kept, and read in all tabs that it is kept for. */

import { useCallback, useEffect, useState } from "react";
import type { Kept } from "./kept.js";

type Change<T> = (to: (known: readonly T[]) => readonly T[]) => void;

/** What comes or goes is kept at once, and other tabs that `kept` is for have it. */
export function useKeptList<T>(kept: Kept, key: string): [list: readonly T[], change: Change<T>] {
  const [list, setList] = useState(() => listOf<T>(kept, key));
  useEffect(() => {
    const follow = (event: StorageEvent) => event.key === key && setList(listOf<T>(kept, key));
    addEventListener("storage", follow);
    return () => removeEventListener("storage", follow);
  }, [kept, key]);
  const change = useCallback<Change<T>>(
    (to) => {
      setList(to);
      kept.set(key, JSON.stringify(to(listOf<T>(kept, key))));
    },
    [kept, key],
  );
  return [list, change];
}

export function listOf<T>(kept: Kept, key: string): readonly T[] {
  try {
    const list: unknown = JSON.parse(kept.get(key) ?? "[]");
    return Array.isArray(list) ? list : [];
  } catch {
    return [];
  }
}
