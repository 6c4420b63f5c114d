/**
 * Merging without the log: the client has the document that it started from, its own and the server's.
 *
 * Registers are merged three ways (both changed: theirs stays, a conflict), sets by id, counters by both
 * differences, texts by their spans, nested objects member by member; arrays that are no sets are registers.
 */

import { difference } from "./difference.js";
import { child } from "./documents.js";
import { emit, type PatchOperation } from "./emit.js";
import { formatPointer, type Path } from "./paths.js";
import { byId } from "./sets.js";
import { difference as textDifference } from "./spans.js";
import { grows, idOf, type Strategies, strategyAt } from "./strategies.js";
import { applyDelta, transformDelta } from "./text.js";
import { equal, isArray, isObject, type Json, type JsonArray, type JsonObject, put } from "./values.js";

/** What both sides changed, of which theirs stays; undefined where it isn't there. */
export interface MergeConflict {
  readonly path: string;
  readonly base: Json | undefined;
  readonly mine: Json | undefined;
  readonly theirs: Json | undefined;
}

export interface Merged {
  /** What leads from theirs to the merged document. */
  readonly patch: PatchOperation[];
  readonly conflicts: MergeConflict[];
}

/** Of `mine` and `theirs`, which both come from `base`: the patch on `theirs` that brings in `mine`. */
export function merge(base: Json, mine: Json, theirs: Json, strategies: Strategies = {}): Merged {
  const conflicts: MergeConflict[] = [];
  const merged = mergeNode([base, mine, theirs], [], { strategies, conflicts }) ?? null;
  return { patch: emit(theirs, difference(theirs, merged)), conflicts };
}

type Side = Json | undefined;
type Sides = readonly [base: Side, mine: Side, theirs: Side];
interface Context {
  readonly strategies: Strategies;
  readonly conflicts: MergeConflict[];
}

/** The merged value of one node; undefined where it is gone. */
function mergeNode(sides: Sides, path: Path, context: Context): Side {
  const [base, mine, theirs] = sides;
  if (equal(mine, base) || equal(mine, theirs)) return theirs;
  if (equal(theirs, base)) return mine;
  const rule = strategyAt(context.strategies, path);
  if (rule === "text" && isText(base) && isText(mine) && isText(theirs)) {
    return applyDelta(theirs, transformDelta(textDifference(base, mine), textDifference(base, theirs), true));
  }
  if (rule === "counter" && sides.every(Number.isSafeInteger)) {
    const count = (theirs as number) + (mine as number) - (base as number);
    if (Number.isSafeInteger(count)) return count;
  }
  const id = idOf(rule);
  if (id !== undefined && isArray(mine) && isArray(theirs)) {
    const keyed = [isArray(base) ? base : [], mine, theirs].map((items) => keyedBy(items, id));
    if (keyed.every((items) => items !== undefined)) return mergeItems(keyed, path, context, grows(rule));
  }
  if (isObject(mine) && isObject(theirs)) {
    return mergeMembers([isObject(base) ? base : {}, mine, theirs], path, context);
  }
  return conflicting(sides, path, context);
}

const isText = (side: Side): side is string => typeof side === "string";

/** Theirs, and a conflict. */
function conflicting([base, mine, theirs]: Sides, path: Path, { conflicts }: Context): Side {
  conflicts.push({ path: formatPointer(path), base, mine, theirs });
  return theirs;
}

/** Conflicts of members come in the order of the names, by UTF-16 units. */
function mergeMembers(sides: readonly JsonObject[], path: Path, context: Context): Json {
  const merged: JsonObject = {};
  for (const key of new Set(sides.flatMap(Object.keys).sort())) {
    const [base, mine, theirs] = sides.map((members) => child(members, key));
    const value = mergeNode([base, mine, theirs], [...path, key], context);
    if (value !== undefined) put(merged, key, value);
  }
  return merged;
}

/** The items by id; undefined where they can't be told apart. */
function keyedBy(items: JsonArray, key: string): Map<Json, Json> | undefined {
  const found = byId(items, key);
  return found?.size === items.length ? found : undefined;
}

/** Theirs in their order, without what mine removed; then what mine added or kept. */
function mergeItems(
  sides: readonly Map<Json, Json>[],
  path: Path,
  context: Context,
  isGrowing: boolean,
): Json {
  const merged: Json[] = [];
  const [, own, others] = sides;
  for (const id of new Set([...others!.keys(), ...own!.keys()])) {
    const [base, mine, theirs] = sides.map((items) => items.get(id));
    const item = mergeItem([base, mine, theirs], [...path, merged.length], context, isGrowing);
    if (item !== undefined) merged.push(item);
  }
  return merged;
}

/** What one side removed and the other changed stays; so does all in a set that only grows. */
function mergeItem(sides: Sides, path: Path, context: Context, isGrowing: boolean): Side {
  const [base, mine, theirs] = sides;
  const there = mine ?? theirs;
  if (mine !== undefined && theirs !== undefined) return mergeNode(sides, path, context);
  if (base === undefined || isGrowing) return there;
  if (equal(base, there)) return undefined;
  conflicting(sides, path, context);
  return there;
}
