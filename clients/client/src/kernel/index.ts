/** The editing kernel: pure functions over immutable JSON documents, and the replica of one document. */

export { canonical } from "./canonical.js";
export { composed, isSame } from "./compose.js";
export { difference } from "./difference.js";
export { apply, find, type Operation, type Operations } from "./documents.js";
export { emit, type Patch, type PatchOperation, settle } from "./emit.js";
export { invert } from "./inverse.js";
export { DEFAULT_LIMITS, type Limits, lower } from "./lower.js";
export { type MergeConflict, type Merged, merge } from "./merge.js";
export { formatPointer, type Path, parsePointer } from "./paths.js";
export {
  GapError,
  type IsWanted,
  type Outgoing,
  Replica,
  type ReplicaOptions,
  type SavedReplica,
} from "./replica.js";
export { difference as textDifference } from "./spans.js";
export type { Strategies, Strategy } from "./strategies.js";
export {
  carriedOffset,
  composeDelta,
  type Delta,
  type TextComponent,
  toCodePoints,
  toUnits,
  writeDelta,
} from "./text.js";
export { against, rebase, transform } from "./transform.js";
export { type UndoEntry, UndoStacks } from "./undo.js";
export { equal, type Json, type JsonArray, type JsonObject, PatchError } from "./values.js";
