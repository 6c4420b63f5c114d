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
import { itemId } from "./sets.js";
import { difference as textDifference } from "./spans.js";
import { grows, idOf, type Strategies, strategyAt } from "./strategies.js";
import { applyDelta, transformDelta } from "./text.js";
import { equal, isArray, isObject, type Json, type JsonArray, type JsonObject, put } from "./values.js";

/** What both sides changed, of which theirs stays. A side on which it isn't there has no value. */
export interface MergeConflict {
  readonly path: string;
  readonly base?: Json;
  readonly mine?: Json;
  readonly theirs?: Json;
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
    return (theirs as number) + (mine as number) - (base as number);
  }
  const id = idOf(rule);
  if (id !== undefined && isArray(mine) && isArray(theirs)) {
    return mergeItems([isArray(base) ? base : [], mine, theirs], path, id, context, grows(rule));
  }
  if (isObject(mine) && isObject(theirs)) {
    return mergeMembers([isObject(base) ? base : {}, mine, theirs], path, context);
  }
  return conflicting(sides, path, context);
}

const isText = (side: Side): side is string => typeof side === "string";

/** Theirs, and a conflict. */
function conflicting([base, mine, theirs]: Sides, path: Path, { conflicts }: Context): Side {
  const sides = { base, mine, theirs };
  const there = Object.entries(sides).filter(([, value]) => value !== undefined);
  conflicts.push({ path: formatPointer(path), ...Object.fromEntries(there) });
  return theirs;
}

function mergeMembers(
  sides: readonly [JsonObject, JsonObject, JsonObject],
  path: Path,
  context: Context,
): Json {
  const merged: JsonObject = {};
  const [base, mine, theirs] = sides;
  const keys = new Set([...Object.keys(theirs), ...Object.keys(mine)]);
  for (const key of keys) {
    const value = mergeNode(
      [child(base, key), child(mine, key), child(theirs, key)],
      [...path, key],
      context,
    );
    if (value !== undefined) put(merged, key, value);
  }
  return merged;
}

/** Theirs in their order, without what mine removed; then what mine added. Nothing leaves what only grows. */
function mergeItems(
  [base, mine, theirs]: readonly [JsonArray, JsonArray, JsonArray],
  path: Path,
  id: string,
  context: Context,
  isGrowing: boolean,
): Json {
  const merged: Json[] = [];
  const among = (items: JsonArray, item: Json): Side =>
    items.find((one) => equal(itemId(one, id), itemId(item, id)));
  const keep = (item: Json): void => {
    const own = among(mine, item);
    const other = among(theirs, item);
    const isEverywhere = own !== undefined && other !== undefined;
    const old = isEverywhere || !isGrowing ? among(base, item) : undefined;
    const value = mergeNode([old, own, other], [...path, merged.length], context);
    if (value !== undefined) merged.push(value);
  };
  theirs.forEach(keep);
  for (const item of mine) if (among(theirs, item) === undefined) keep(item);
  return merged;
}
