/** What to do about an error of the server that answers the submission in flight. */

import type { Patch } from "../api.js";
import type { Replica, SavedReplica } from "../kernel/index.js";
import { pauseOf, type WireConflict } from "../wire.js";
import { fromWire } from "./conflicts.js";
import { NO_EPOCH, type Refusal, type Replicator } from "./replicator.js";

export interface ServerError extends Refusal {
  /** The server's newest version. */
  version?: number;
  retry_after_ms?: number;
  /** With SEQ_TOO_OLD: the newest that it knows of this client. */
  seq_last?: number;
  conflicts?: WireConflict[];
}

/**
 * - `again`: what there is now goes at once. A number: it does after so many milliseconds.
 * - `asked`: the user decides. A patch: it left the view.
 * - `subscribe`, `reload`: what is missing has to come first, at last as a state.
 */
export type Verdict = "again" | "asked" | "subscribe" | "reload" | number | Patch;

const LATER_MS = 1_000;

export function verdictOn(error: ServerError, replicator: Replicator): Verdict {
  switch (error.code) {
    case "RATE_LIMITED":
    case "UNAVAILABLE":
      return pauseOf(error.retry_after_ms, LATER_MS);
    case "VERSION_AHEAD":
    case "NOT_SUBSCRIBED":
      return "subscribe";
    case "VERSION_TOO_OLD":
      return replicator.rebase() ? "again" : "reload";
    case "SEQ_REUSED":
      replicator.renumber();
      return "again";
    case "SEQ_TOO_OLD":
      // As under another name: the server can't say whether it has this edit, so the states are merged.
      replicator.renumber((error.seq_last ?? 0) + 1);
      replicator.epoch = NO_EPOCH;
      return "reload";
    case "CONFLICT":
      return error.conflicts?.length ? asked(error, error.conflicts, replicator) : crowded(error, replicator);
    default:
      return withdrawn(replicator);
  }
}

function asked({ version: head }: ServerError, found: WireConflict[], replicator: Replicator): Verdict {
  const replica = replicator.replica as Replica;
  const { document, buffer } = replica.toJSON();
  const { edits, submission } = refusedOf(replicator);
  const { flight } = replicator;
  // The same edit went twice, and both were refused: the user is asked, or has said already that it is to go.
  if (flight.isAsking || flight.isForced) return "asked";
  const newest = Math.max(...found.map((one) => one.version ?? 0));
  if (newest <= flight.answeredUpTo) {
    replicator.withdraw(); // it is asked about with what waited
    return "again";
  }
  flight.isAsking = true;
  flight.answeredUpTo = newest;
  replicator.see();
  const about = {
    ...submission,
    reported: found,
    document,
    version: head as number,
    operations: edits.flat(),
    buffer,
  };
  replicator.events.onConflicts(
    found.map((one) => ({ ...fromWire(one, replica.version, about, replica.view), kind: "refused" })),
  );
  return "asked";
}

/**
 * A test is to blame; or a document that somebody else made, and all of it was made upon mine; or else the edit
 * met too many others to be merged, and goes on the head instead.
 */
function crowded({ index, version = 0 }: ServerError, replicator: Replicator): Verdict {
  const { patch, baseVersion } = refusedOf(replicator).submission;
  if (index == null && baseVersion < version) return again(replicator);
  return withdrawn(replicator, index == null || patch[index]?.op === "test");
}

/** A refused edit leaves the view. Of several half goes first, until the one to blame is alone. */
function withdrawn(replicator: Replicator, isOne = true): Verdict {
  const count = refusedOf(replicator).edits.length;
  if (isOne && count > 1) return again(replicator, Math.ceil(count / 2));
  return replicator.withdraw();
}

function again(replicator: Replicator, editsMax?: number): Verdict {
  replicator.requeue(editsMax);
  return "again";
}

/** What an error answers is in flight. */
const refusedOf = (replicator: Replicator) =>
  (replicator.replica as Replica).toJSON().inFlight as NonNullable<SavedReplica["inFlight"]>;
