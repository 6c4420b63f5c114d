/** From following another tab to its queue. */

import { NO_EPOCH } from "../documents/replicator.js";
import type { DocumentState } from "../documents/state.js";
import { merge } from "../kernel/index.js";

/** This tab has the queue now: what is stored, and upon it what this tab had not handed over. */
export async function takeOver(state: DocumentState): Promise<void> {
  const { replicator } = state;
  state.leading = null;
  state.isQueued = null;
  const saved = await state.load();
  const old = replicator.replica;
  replicator.epoch = NO_EPOCH;
  state.conflicts = saved?.conflicts ?? [];
  if (!saved) return;
  replicator.restore(saved);
  if (!old) return;
  const stored = state.view;
  const { patch } = merge(old.document, old.view, stored, state.strategies);
  replicator.show(old.view, stored);
  if (patch.length) replicator.edit(patch);
}
