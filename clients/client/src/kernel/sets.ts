/** Arrays that are sets: items that are their own ids, or have one. A `grow` is a set that nothing leaves. */

import { child, type Operation } from "./documents.js";
import type { Path } from "./paths.js";
import { equal, has, isArray, isObject, type Json, type JsonArray } from "./values.js";

/** Beyond so many operations an array that is replaced is replaced whole. */
const SET_OPERATIONS_MAX = 1000;

/** The id of a set's item: the item itself, or its member `key`; null where it has none. */
const itemId = (item: Json, key: string): Json => (key ? (child(item, key) ?? null) : item);

/** Where in a set an item with the same id stands, or -1. */
export function indexOf(items: JsonArray, value: Json, key: string): number {
  const id = itemId(value, key);
  return id === null ? -1 : items.findIndex((item) => equal(itemId(item, key), id));
}

/** The items by id: of each id the last one, in the place of the first. Undefined where one has no plain id. */
export function byId(items: JsonArray, key: string): Map<Json, Json> | undefined {
  const found = new Map<Json, Json>();
  for (const item of items) {
    const id = itemId(item, key);
    if (id === null || typeof id === "object") return undefined;
    found.set(id, item);
  }
  return found;
}

/**
 * What leads from one array to another as sets: removals, then insertions and moves, then item changes.
 *
 * Undefined where items can't be told apart, or where it would be too many operations: the array is then one
 * value.
 */
export function replacing(path: Path, old: JsonArray, now: JsonArray, key: string): Operation[] | undefined {
  const before = byId(old, key);
  const after = byId(now, key);
  if (!before || !after || before.size < old.length) return undefined;
  const operations: Operation[] = [];
  const present = [...before.keys()];
  for (let index = present.length - 1; index >= 0; index--) {
    if (after.has(present[index]!)) continue;
    operations.push(["rem", [...path, index]]);
    present.splice(index, 1);
  }
  placeItems(path, present, after, operations);
  for (const [index, [id, item]] of [...after].entries()) {
    const was = before.get(id);
    if (was !== undefined) operations.push(...changed([...path, index], was, item));
  }
  return operations.length <= SET_OPERATIONS_MAX ? operations : undefined;
}

/** Bring the ids that are there into their new order and insert the others, from the end on. */
function placeItems(path: Path, present: Json[], after: Map<Json, Json>, operations: Operation[]): void {
  const ids = [...after.keys()];
  const staying = inOrder(present, ids);
  const known = new Set(present);
  let gap = present.length;
  for (const id of ids.reverse()) {
    if (staying.has(id)) {
      gap = present.indexOf(id);
      continue;
    }
    if (operations.length > SET_OPERATIONS_MAX) return;
    if (known.has(id)) {
      const source = present.indexOf(id);
      operations.push(["mov", [...path, source], [...path, gap]]);
      present.splice(source, 1);
      if (source < gap) gap--;
    } else operations.push(["ins", [...path, gap], after.get(id)!]);
    present.splice(gap, 0, id);
  }
}

/** The most ids that stand in the new order already (a longest increasing subsequence). */
function inOrder(present: readonly Json[], ids: readonly Json[]): Set<Json> {
  const places = new Map(ids.map((id, index) => [id, index]));
  const ends: Json[] = []; // of a run of each length, the id at the smallest place
  const before = new Map<Json, Json | undefined>(); // the one before an id in its run
  for (const id of present) {
    const place = places.get(id)!;
    let length = 0;
    for (let high = ends.length; length < high; ) {
      const half = (length + high) >> 1;
      if (places.get(ends[half]!)! < place) length = half + 1;
      else high = half;
    }
    before.set(id, ends[length - 1]);
    ends[length] = id;
  }
  const found = new Set<Json>();
  for (let id = ends.at(-1); id !== undefined; id = before.get(id)) found.add(id);
  return found;
}

/** What makes one item another with the same id: an object changes member by member. */
function changed(path: Path, old: Json, now: Json): Operation[] {
  if (equal(old, now)) return [];
  if (!isObject(old) || !isObject(now)) return [["set", path, now]];
  const gone = Object.keys(old).filter((name) => !has(now, name));
  const set = Object.keys(now).filter((name) => !has(old, name) || !equal(old[name], now[name]));
  // By UTF-16 units, as in RFC 8785: an order that every language has.
  return [
    ...gone.sort().map((name): Operation => ["rem", [...path, name]]),
    ...set.sort().map((name): Operation => ["set", [...path, name], now[name]!]),
  ];
}

/** Is every item of an array that only grows still there? */
export const isKept = (old: JsonArray, now: Json | undefined, key: string): boolean =>
  old.every((item) => itemId(item, key) === null || (isArray(now) && indexOf(now, item, key) >= 0));
