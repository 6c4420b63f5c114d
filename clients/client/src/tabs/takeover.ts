/** From following another tab to its queue, and back. */

import { fromMerge } from "../documents/conflicts.js";
import { NO_EPOCH } from "../documents/replicator.js";
import type { DocumentState } from "../documents/state.js";
import { difference, emit, merge, type Replica, type UndoEntry } from "../kernel/index.js";
import { Led } from "./follower.js";

/** What was asked about, and may be again. */
type Asked = Pick<DocumentState, "conflicts" | "resolved">;

const askedIn = ({ conflicts, resolved }: Asked): Asked => ({ conflicts, resolved });

/** This tab has the queue now: what is stored, and upon it what this tab had not handed over; nothing if it lost it. */
export async function takeOver(state: DocumentState, isLeading: () => boolean): Promise<void> {
  const { replicator } = state;
  const saved = await state.load();
  if (!isLeading()) return;
  const old = replicator.replica;
  const own = state.leading ? askedIn(state) : { conflicts: [], resolved: [] };
  state.leading = null;
  state.isQueued = null;
  state.stored = undefined;
  state.conflicts = own.conflicts;
  replicator.epoch = NO_EPOCH;
  const upon = (old: Replica) => {
    bringIn(old, state, own);
    keepUndo(old, replicator.replica as Replica);
  };
  if (saved) state.goOnWith(saved, () => old && upon(old));
  else if (old) state.keep();
  state.refresh();
}

/**
 * Another tab has the queue now, as it is stored: what else was or will be done here stands upon all of it. Where
 * every edit is stored or acknowledged, what the view has beyond that others have as well: there is nothing to hand over.
 */
export function handOver(state: DocumentState): void {
  const { replicator, stored, role, conflicts, isStored, view } = state;
  if (!replicator.replica || stored === undefined || state.leading) return;
  const { version } = replicator.replica;
  const { pending } = replicator.flight;
  state.leading = new Led(state, { version, role, pending, isStored: true, isLive: false, conflicts });
  state.conflicts = [];
  const known = isStored || !pending ? view : stored;
  replicator.epoch = 0; // whose numbers count is seen there; it isn't new
  replicator.flight.land(true);
  const next = replicator.succeed(known, version, emit(known, difference(known, view)));
  if (!next.isSettled) replicator.flight.pending++;
}

/** What was done in this tab can be taken back in it, as it stands on what is there now. */
function keepUndo({ view, undoStacks }: Replica, next: Replica): void {
  undoStacks.remote(view, difference(view, next.view));
  let label = 0; // those of the next replica's own edits are above it
  const renamed = (entries: readonly UndoEntry[]) => entries.map((entry) => ({ ...entry, label: --label }));
  next.undoStacks.undo = renamed(undoStacks.undo);
  next.undoStacks.redo = renamed(undoStacks.redo);
}

/** What this tab's replica had without an answer, merged with what the other tab stored. */
function bringIn(old: Replica, state: DocumentState, own: Asked): void {
  const { replicator, view } = state;
  const { version } = state.confirmed;
  const { patch, conflicts } = merge(old.document, old.view, view, replicator.strategies);
  const stored = askedIn(state);
  Object.assign(state, own); // it stands where the old view had it
  replicator.show(old.view, view);
  state.conflicts = [...stored.conflicts, ...state.conflicts];
  state.resolved = [...stored.resolved, ...state.resolved];
  replicator.bringIn(patch);
  if (replicator.replica?.isSettled) replicator.flight.land(true);
  state.onConflicts(conflicts.map((one) => fromMerge(one, version)));
  if (patch.length || own.conflicts.length || conflicts.length) state.keep();
}
