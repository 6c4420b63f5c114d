/** Who is in a document. */

import type { PresenceSnapshot, SharedDocument } from "@collab/client";
import { useReadable } from "./readable.js";

const NOBODY: PresenceSnapshot = { others: [], self: null, count: 0 };

/** The people in a document: the others, oneself, and how many there are in all. */
export function usePresence<T>(document: SharedDocument<T> | null): PresenceSnapshot {
  return useReadable(document?.presence, NOBODY);
}
