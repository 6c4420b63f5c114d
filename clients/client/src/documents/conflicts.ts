/** Conflicts as the application sees them, from the server's reports and from merges here. */

import type { Conflict, Json, Patch, PatchOperation } from "../api.js";
import {
  apply,
  difference,
  equal,
  find,
  formatPointer,
  lower,
  type MergeConflict,
  merge,
  type Operation,
  type Operations,
  PatchError,
  type Path,
  parsePointer,
  rebase,
  type Strategies,
} from "../kernel/index.js";
import { type Change, randomName, type WireConflict } from "../wire.js";
import { memberOf } from "./pieces.js";

/** A conflict until it is resolved. */
export interface Unresolved extends Conflict {
  /** What became of the edit, or would have; where, and at which version. Not of what was merged here. */
  readonly told?: Pick<WireConflict, "kind" | "path"> & { readonly version: number };
  /** `path` is a value's, or that of an item that was removed; or `lost`: what is there by now is another. */
  readonly place: "node" | "gap" | "lost";
}

/** One that the server told. */
export type Reported = Unresolved & Required<Pick<Unresolved, "told">>;

/** A conflict until what it was resolved with is committed: it comes back where that is refused. */
export interface Resolved {
  readonly conflict: Unresolved;
  readonly value: Json | undefined;
  /** Committed when so many edits are settled. */
  readonly settledAt: number;
}

/** Conflicts are kept with their names, beside which the next session's stand. */
const nextId = (): string => randomName(Math.random);

/** The path of a JSON pointer: a number is an array's index. */
function pathOf(document: Json, pointer: string): Path {
  let node: Json | undefined = document;
  return parsePointer(pointer).map((token) => {
    const key = Array.isArray(node) ? Number(token) : token;
    node = find(node as Json, [key]);
    return key;
  });
}

/** The value at a JSON pointer; undefined where there is none. */
export const valueAt = (document: Json, pointer: string): Json | undefined =>
  find(document, pathOf(document, pointer));

export const isIndex = (token: string | number | undefined): boolean => typeof token === "number";

/** Where a place is after these changes; null where they left nothing of it. */
export function placeAfter(path: Path, isGap: boolean, changes: Operations[]): Path | null {
  const [stand] = rebase([[isGap ? "ins" : "tst", path, null]], changes);
  return stand?.[1] ?? null;
}

/** Where a path goes: `lost` where what was there is gone, and more than names led to it. */
function carried(
  path: Path,
  place: Unresolved["place"],
  changes: Operations[],
): Pick<Unresolved, "path" | "place"> {
  const moved = placeAfter(path, place === "gap", changes);
  const isLost = !moved && path.some(isIndex);
  return { path: formatPointer(moved ?? path), place: isLost ? "lost" : place };
}

/** A conflict after a change of the view. */
export const carriedConflict = (conflict: Unresolved, before: Json, operations: Operations): Unresolved => ({
  ...conflict,
  ...carried(pathOf(before, conflict.path), conflict.place, [operations]),
});

/** What the server reported about. */
interface Submitted {
  readonly patch: Patch;
  /** The document that `operations`, which the patch became, stand on, and its version; null: what it became isn't known. */
  readonly document: Json;
  readonly version: number;
  readonly operations: Operations | null;
  /** All that was told of it. */
  readonly reported: readonly WireConflict[];
  /** What waits, on top of them. */
  readonly buffer: readonly Operations[];
}

type Explained = Submitted & { readonly operations: Operations };

/** `view` is what the author sees now. */
export function fromWire(found: WireConflict, version: number, submitted: Submitted, view: Json): Unresolved {
  const { path, place } = placeOf(found, submitted);
  return {
    id: nextId(),
    path,
    kind: found.kind,
    base: found.base,
    mine:
      found.kind === "dropped"
        ? wanted(found, submitted.patch[found.index])
        : place === "gap"
          ? undefined
          : valueAt(view, path),
    theirs: found.theirs,
    omitted: found.omitted ?? [],
    userId: found.user_id ?? null,
    version: found.version ?? version,
    timestamp: found.timestamp ?? null,
    told: { kind: found.kind, path: found.path, version: submitted.version },
    place,
  };
}

/** A report stands behind the operation that it is about; what follows moves it. */
function placeOf(found: WireConflict, submitted: Submitted) {
  const { patch, document, operations, buffer } = submitted;
  const path = pathOf(document, found.path);
  // In a document of which only the newest state is known: items may be anywhere.
  if (!operations) return carried(path, path.some(isIndex) ? "lost" : "node", buffer as Operations[]);
  const end = endOf(found, submitted as Explained);
  const isDropped = found.kind === "dropped";
  const isMoved = end === undefined && path.some(isIndex) && operations.some(isShifting);
  const isLost = isMoved || (isDropped && isGone(found, path, patch[found.index]));
  const isRemoval = patch[found.index]?.op === "remove" || operations[(end ?? 0) - 1]?.[0] === "rem";
  const isGap = !isDropped && isRemoval && isIndex(path.at(-1));
  const rest = operations.slice(end ?? operations.length);
  return carried(path, isLost ? "lost" : isGap ? "gap" : "node", [rest, ...buffer]);
}

/** So many operations came of the patch up to the one that is told of; undefined where nobody can say. */
function endOf(found: WireConflict, { patch, operations, reported }: Explained): number | undefined {
  const { index, kind, path } = found;
  const dropped = reported.filter((one) => one.kind === "dropped").map((one) => one.index);
  const kept = patch.flatMap((_, at) => (dropped.includes(at) ? [] : at));
  if (kept.length === operations.length) return kept.filter((at) => at <= index).length;
  if (kind === "dropped" || !path.startsWith(`${patch[index]?.path}/`)) return undefined;
  // Of a new array several came: the removal of an item is known by its place.
  return operations.findIndex(([kind, at]) => kind === "rem" && formatPointer(at) === path) + 1 || undefined;
}

/** Can it give other items new indexes? */
const isShifting = ([kind, path]: Operation): boolean =>
  kind === "ins" || kind === "mov" || (kind === "rem" && isIndex(path.at(-1)));

/** Has a dropped edit no place any more, or can nobody say what it would have written there? */
const isGone = (found: WireConflict, path: Path, operation: PatchOperation | undefined): boolean =>
  (found.theirs === undefined && !found.omitted?.includes("theirs") && path.some(isIndex)) ||
  isUntold(found, operation);

const isChange = (
  operation: PatchOperation | undefined,
): operation is Extract<PatchOperation, { op: "text" | "inc" }> =>
  operation?.op === "text" || operation?.op === "inc";

/** Can nobody say what a dropped edit would have written? */
const isUntold = ({ base }: WireConflict, operation: PatchOperation | undefined): boolean =>
  operation?.op === "move" || (isChange(operation) && base === undefined);

/** The value that a dropped edit would have written. */
function wanted({ base }: WireConflict, operation: PatchOperation | undefined): Json | undefined {
  if (!isChange(operation)) return (operation as { value?: Json } | undefined)?.value;
  return base === undefined ? undefined : apply(base, lower(base, [{ ...operation, path: "" }]));
}

/** `by`: the change that it was merged with, where it is known, of which `version` is otherwise. */
export const fromMerge = (found: MergeConflict, version: number, by?: Partial<Change>): Unresolved => ({
  ...found,
  id: nextId(),
  kind: "merged",
  omitted: [],
  userId: by?.user_id ?? null,
  version: by?.version ?? version,
  timestamp: by?.timestamp ?? null,
  place: "node",
});

/** As the server refuses. */
export const refused = (question: Unresolved, version: number): Unresolved => ({
  ...question,
  told: { kind: question.kind as WireConflict["kind"], path: question.path, version },
  kind: "refused",
});

/** An edit of which the server can't say what it met: it goes again, on another base than its author saw. */
export interface Rebased {
  readonly base: Json;
  readonly mine: Json;
  readonly theirs: Json;
  /** What became of mine on theirs. */
  readonly made: Json;
  /** What waits, on top of that. */
  readonly buffer: readonly Operations[];
  readonly view: Json;
}

/**
 * What it took the place of, and what is gone of it; what both are in now isn't in conflict. `since`: what others did last
 * in each member in between, or with the whole (undefined), as far as the server told it change by change.
 */
export function fromRebase(
  { base, mine, theirs, made, buffer, view }: Rebased,
  since: ReadonlyMap<string | undefined, Change>,
  version: number,
  strategies: Strategies,
): Unresolved[] {
  const { patch, conflicts } = merge(base, mine, theirs, strategies);
  const merged = apply(theirs, lower(theirs, patch, {}, null));
  const changes = difference(merged, made);
  return conflicts.flatMap((one) => {
    const path = pathOf(merged, one.path);
    const isGap = one.mine === undefined && isIndex(path.at(-1));
    const stand = isGap ? "gap" : "node";
    const { path: at, place } = carried(path, stand, [changes]);
    const there = valueAt(made, at);
    const isMine = place !== "lost" && (isGap || equal(there, one.mine));
    if (place !== "lost" && !isMine && !equal(there, one.theirs)) return [];
    const now = carried(path, stand, [changes, ...buffer]);
    const written = isMine && !isGap ? valueAt(view, now.path) : one.mine;
    const by = since.get(memberOf(one)) ?? since.get(undefined);
    return {
      ...fromMerge(one, version, by),
      ...now,
      kind: isMine ? "overwrote" : "dropped",
      mine: written,
    };
  });
}

/** The patch that writes a value over what is there, or where an item was removed. */
export function patchOf(view: Json, path: string, value: Json | undefined, isGap = false): Patch {
  const isThere = !isGap && valueAt(view, path) !== undefined;
  if (value === undefined) return isThere ? [{ op: "remove", path }] : [];
  return [{ op: isThere ? "replace" : "add", path, value }];
}

/** The patch that writes each conflict's value, where that is by then: what is written for one moves those after it. */
export function resolving(
  conflicts: readonly Unresolved[],
  valueFor: (one: Unresolved) => Json | undefined,
  view: Json,
  strategies: Strategies,
): Patch {
  const patch: PatchOperation[] = [];
  for (const conflict of conflicts) {
    const written = lower(view, patch, strategies);
    const { path, place } = carriedConflict(conflict, view, written);
    if (place === "lost") throw new PatchError("CONFLICT", `What was at ${path} is gone.`);
    patch.push(...patchOf(apply(view, written), path, valueFor(conflict), place === "gap"));
  }
  return patch;
}
