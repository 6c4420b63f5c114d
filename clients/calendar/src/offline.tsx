/** What a page lacks while there is no connection. */

import { useSyncStatus } from "@collab/react";
import type { ReactNode } from "react";

export function Offline({ text }: { text: string }): ReactNode {
  const { state } = useSyncStatus().connection;
  return (state === "reconnecting" || state === "denied") && <p className="note">{text}</p>;
}
