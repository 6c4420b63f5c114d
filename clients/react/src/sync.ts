/** Whether one is connected, and whether everything has arrived. */

import type { Connection, Sync } from "@collab/client";
import { useClient } from "./provider.js";
import { useReadable } from "./readable.js";

export type SyncStatus = Sync & {
  readonly connection: Connection;
  /** For people: "online, saved", "offline, 3 edits kept here". */
  readonly text: string;
};

/** The connection's state and what is still to be sent, over all documents. */
export function useSyncStatus(): SyncStatus {
  const client = useClient();
  const sync = useReadable(client.sync);
  const connection = useReadable(client.connection);
  return { ...sync, connection, text: textOf(sync, connection) };
}

function textOf({ state, pending }: Sync, { state: link }: Connection): string {
  const edits = pending === 1 ? "1 edit" : `${pending} edits`;
  if (state === "unsaved") return `not saved: ${edits} in memory only`;
  if (link === "polling" || link === "online") return `${link}, ${state === "offline" ? "saving" : state}`;
  return (link === "connecting" ? link : "offline") + (pending ? `, ${edits} kept here` : "");
}
