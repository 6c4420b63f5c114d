/** Whoever leaves with edits that aren't sent is asked before: some would be lost. */

import type { Sync } from "@collab/client";
import { useClient, useSyncStatus } from "@collab/react";
import { useEffect, useState } from "react";

/** Null where there is nothing to ask. `isKept`: what isn't sent stays in this browser. */
function question({ pending, state }: Sync, isKept: boolean): string | null {
  if (!pending || (isKept && state === "saving")) return null; // those are on their way
  const [edits, they] = pending === 1 ? ["1 edit isn’t", "It is"] : [`${pending} edits aren’t`, "They are"];
  return isKept
    ? `${edits} sent yet. ${they} kept in this browser, and sent when you sign in here again. Sign out?`
    : `${edits} sent yet. ${they} lost when you leave. Sign out?`;
}

/** Does the store fail? It tells of it, and is well again when it has taken edits. */
function useFailing({ pending, isStored }: Sync): boolean {
  const client = useClient();
  const [isFailing, setFailing] = useState(false);
  useEffect(() => client.onProblem(({ code }) => code.startsWith("STORE_") && setFailing(true)), [client]);
  const hasTaken = pending > 0 && isStored;
  useEffect(() => {
    if (hasTaken) setFailing(false);
  }, [hasTaken]);
  return isFailing;
}

/**
 * What asks before the user signs out, true: go on. The browser asks where the page ends, and edits with it. `keeps`:
 * what is stored outlasts this tab.
 */
export function useLeaving(keeps: boolean): () => boolean {
  const sync = useSyncStatus();
  const isFailing = useFailing(sync);
  const isKept = keeps && !isFailing && sync.state !== "unsaved";
  const asked = question(sync, isKept);
  const isLoss = asked !== null && !isKept;
  useEffect(() => {
    if (!isLoss) return;
    const ask = (event: Event) => event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [isLoss]);
  return () => asked === null || confirm(asked);
}
