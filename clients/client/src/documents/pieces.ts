/** A patch of any length, in edits. */

import {
  DEFAULT_LIMITS,
  type Patch,
  PatchError,
  type PatchOperation,
  type Replica,
} from "../kernel/index.js";

/** What can't be written is among what the replica has `refused`, and leaves the rest of the patch as it is. */
export function write(replica: Replica, patch: Patch): void {
  for (const piece of piecesOf(patch)) {
    try {
      replica.edit(piece, true);
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
      replica.refused.push({ error, patch: piece });
    }
  }
}

/**
 * An edit for each member of the document: one that the server refuses leaves it whole. What is in one member goes
 * together, for that is how it is judged: an array that only grows may lose an item that it gets back.
 */
function* piecesOf(patch: Patch): Generator<Patch> {
  let piece: PatchOperation[] = [];
  for (const operation of patch) {
    const [first = operation] = piece;
    const isFull = piece.length === DEFAULT_LIMITS.patchOperationsMax;
    if (isFull || memberOf(operation) !== memberOf(first)) {
      yield piece;
      piece = [];
    }
    piece.push(operation);
  }
  if (piece.length) yield piece;
}

/** The member of the document that a path leads to, or into. */
export const memberOf = ({ path }: Pick<PatchOperation, "path">): string | undefined => path.split("/", 2)[1];
