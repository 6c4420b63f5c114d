/** Conflicts as the application sees them, from the server's reports and from offline merges. */

import type { Conflict, Json, Patch } from "../api.js";
import { find, type MergeConflict, parsePointer } from "../kernel/index.js";
import type { WireConflict } from "../wire.js";

let count = 0;
const nextId = (): string => `conflict-${++count}`;

/** The value at a JSON pointer; undefined where there is none. */
export function valueAt(document: Json, pointer: string): Json | undefined {
  let node: Json | undefined = document;
  for (const token of parsePointer(pointer)) {
    node = find(node, [Array.isArray(node) ? Number(token) : token]);
    if (node === undefined) return undefined;
  }
  return node;
}

/** `patch` is what was submitted, `view` what the author sees now. */
export function fromWire(found: WireConflict, version: number, patch: Patch, view: Json): Conflict {
  const operation = patch[found.index];
  const submitted = operation && "value" in operation ? (operation.value as Json) : undefined;
  return {
    id: nextId(),
    path: found.path,
    kind: found.kind,
    base: found.base,
    mine: found.kind === "overwrote" ? valueAt(view, found.path) : submitted,
    theirs: found.theirs,
    omitted: found.omitted ?? [],
    userId: found.user_id ?? null,
    version: found.version ?? version,
    timestamp: found.timestamp ?? null,
  };
}

export function fromMerge(found: MergeConflict, version: number): Conflict {
  const { path, base, mine, theirs } = found;
  const nobody = { userId: null, version, timestamp: null };
  return { id: nextId(), kind: "merged", path, base, mine, theirs, omitted: [], ...nobody };
}

/** The patch that writes one side of a conflict over what is there. */
export function patchOf(view: Json, path: string, value: Json | undefined): Patch {
  const isThere = valueAt(view, path) !== undefined;
  if (value === undefined) return isThere ? [{ op: "remove", path }] : [];
  return [{ op: isThere ? "replace" : "add", path, value }];
}
