/** What to do about an error of the server that answers the submission in flight. */

import type { Patch } from "../api.js";
import type { Replica } from "../kernel/index.js";
import type { WireConflict } from "../wire.js";
import { fromWire } from "./conflicts.js";
import type { Replicator } from "./replicator.js";

export interface ServerError {
  code: string;
  message: string;
  index?: number;
  retry_after_ms?: number;
  conflicts?: WireConflict[];
}

/**
 * - `again`: what there is now goes at once. `later`: it does after a while.
 * - `asked`: the user decides. `refused`: these operations left the view.
 * - `subscribe`, `reload`: what is missing has to come first, at last as a state.
 */
export type Verdict =
  | { next: "again" | "asked" | "subscribe" | "reload" }
  | { next: "later"; afterMs: number }
  | { next: "refused"; operations: Patch };

const LATER_MS = 1_000;

export function verdictOn(error: ServerError, replicator: Replicator): Verdict {
  switch (error.code) {
    case "RATE_LIMITED":
    case "UNAVAILABLE":
      return { next: "later", afterMs: error.retry_after_ms ?? LATER_MS };
    case "VERSION_AHEAD":
    case "NOT_SUBSCRIBED":
      return { next: "subscribe" };
    case "VERSION_TOO_OLD":
      return { next: replicator.rebase() ? "again" : "reload" };
    case "SEQ_REUSED":
      return renumbered(replicator);
    case "SEQ_TOO_OLD":
      return { next: "reload" };
    case "CONFLICT":
      if (error.conflicts?.length) return asked(error.conflicts, replicator);
      return withdrawn(replicator, null);
    default:
      return withdrawn(replicator, error.index ?? null);
  }
}

/** The `seq` belongs to another submission (a store was lost): this one takes the next. */
function renumbered(replicator: Replicator): Verdict {
  const saved = (replicator.replica as Replica).toJSON();
  if (saved.inFlight) {
    const seq = saved.seqNext;
    const inFlight = { ...saved.inFlight, submission: { ...saved.inFlight.submission, seq } };
    replicator.replace({ ...saved, inFlight, seqNext: seq + 1 });
  }
  return { next: "again" };
}

function asked(found: WireConflict[], replicator: Replicator): Verdict {
  const { inFlight, view, version } = replicator.replica as Replica;
  replicator.flight.isAsking = true;
  replicator.flight.answeredUpTo = Math.max(...found.map((one) => one.version ?? 0));
  const all = found.map((one) => fromWire(one, version, inFlight?.patch ?? [], view));
  replicator.events.onConflicts(all.map((one) => ({ ...one, kind: "refused" })));
  return { next: "asked" };
}

/**
 * A refused patch leaves the view. Of several operations only the one to blame does, and the others are made
 * again; where nobody says which it is, half of them go first. A patch with a `test` is all or nothing.
 */
function withdrawn(replicator: Replicator, index: number | null): Verdict {
  const patch = replicator.replica?.inFlight?.patch ?? [];
  const isDivisible = patch.length > 1 && !patch.some((operation) => operation.op === "test");
  if (isDivisible && index === null) return halved(replicator, patch);
  replicator.withdraw();
  if (!isDivisible) return { next: "refused", operations: patch };
  return { next: "refused", operations: patch.filter((one, at) => at === index || !replicator.again(one)) };
}

function halved(replicator: Replicator, patch: Patch): Verdict {
  const { flight } = replicator;
  const { pending } = flight;
  replicator.bound(Math.ceil(patch.length / 2), () => replicator.replica?.withdraw());
  const refused = patch.filter((operation) => !replicator.again(operation));
  flight.pending = pending; // they are the same edits
  flight.ground();
  return refused.length ? { next: "refused", operations: refused } : { next: "again" };
}
