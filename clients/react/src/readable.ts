/** What changes outside of React, read so that StrictMode and concurrent rendering are right. */

import type { Client, Readable } from "@collab/client";
import { useCallback, useEffect, useState, useSyncExternalStore } from "react";
import { useClient } from "./provider.js";

/** `select` of a readable's snapshot; `fallback` while there is none; what is always there needs none. `select` must give stable identities. */
export function useReadable<S, R = S>(
  readable: Readable<S> | null | undefined,
  fallback: S = (readable as Readable<S>).snapshot,
  select: (snapshot: S) => R = (snapshot) => snapshot as unknown as R,
): R {
  const subscribe = useCallback(
    (listener: () => void) => readable?.subscribe(listener) ?? (() => {}),
    [readable],
  );
  return useSyncExternalStore(
    subscribe,
    () => select(readable?.snapshot ?? fallback),
    () => select(fallback),
  );
}

/** Something that `open` gives for as long as the component shows `key`; null until then. Another `option` opens it again. */
export function useOpened<H extends { close(): void }>(
  key: string,
  open: (client: Client) => H,
  option?: string,
): H | null {
  const client = useClient();
  const [opened, setOpened] = useState<{ key: string; value: H } | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `key` says what `open` opens
  useEffect(() => {
    const value = open(client);
    setOpened({ key, value });
    return () => {
      setOpened(null);
      value.close();
    };
  }, [client, key, option]);
  return opened?.key === key ? opened.value : null;
}
