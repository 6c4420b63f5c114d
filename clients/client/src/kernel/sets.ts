/** Arrays that are sets: items that are their own ids, or have one. A `grow` is a set that nothing leaves. */

import type { Operation } from "./documents.js";
import { child } from "./documents.js";
import type { Path } from "./paths.js";
import { equal, isArray, isObject, type Json, type JsonArray, type JsonObject } from "./values.js";

/** Beyond so many operations an array that is replaced is replaced whole. */
const SET_OPERATIONS_MAX = 1000;

/** The id of a set's item; null where it has none. `key` is the member that holds it, "" for the item itself. */
export const itemId = (item: Json, key: string): Json => (key ? (child(item, key) ?? null) : item);

/** Where in a set an item with the same id stands, or -1. */
export function indexOf(items: readonly Json[], value: Json, key: string): number {
  const id = itemId(value, key);
  return id === null ? -1 : items.findIndex((item) => equal(itemId(item, key), id));
}

type Key = string | number | boolean;

/** The ids of all items; undefined where one has none that can be looked up. */
function keysOf(items: JsonArray, key: string): Key[] | undefined {
  const keys = items.map((item) => itemId(item, key));
  return keys.every((id) => id !== null && typeof id !== "object") ? (keys as Key[]) : undefined;
}

/**
 * What leads from one array to another as sets: removals, then insertions and moves, then item changes.
 *
 * Undefined where items can't be told apart, or where it would be too many operations: the array is then one
 * value.
 */
export function replacing(path: Path, old: JsonArray, now: JsonArray, key: string): Operation[] | undefined {
  const keys = keysOf(old, key);
  const written = keysOf(now, key);
  if (!keys || !written || new Set(keys).size < keys.length) return undefined;
  // Of each id one item, as if they were added one by one: the last one, in the place of the first.
  const wanted = new Map<Key, Json>();
  for (const [index, id] of written.entries()) wanted.set(id, now[index] as Json);
  const operations: Operation[] = [];
  for (let index = keys.length - 1; index >= 0; index--) {
    if (!wanted.has(keys[index] as Key)) operations.push(["rem", [...path, index]]);
  }
  place(
    path,
    keys.filter((id) => wanted.has(id)),
    wanted,
    operations,
  );
  for (const [index, [id, item]] of [...wanted].entries()) {
    const before = keys.indexOf(id);
    if (before >= 0) operations.push(...changing([...path, index], old[before] as Json, item));
    if (operations.length > SET_OPERATIONS_MAX) return undefined;
  }
  return operations.length <= SET_OPERATIONS_MAX ? operations : undefined;
}

/** Bring the ids that are there into their new order and insert the others, from the end on. */
function place(path: Path, present: Key[], wanted: ReadonlyMap<Key, Json>, operations: Operation[]): void {
  const ids = [...wanted.keys()];
  const staying = inOrder(present, ids);
  const known = new Set(present);
  let gap = present.length;
  for (let index = ids.length - 1; index >= 0; index--) {
    const id = ids[index] as Key;
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
    } else operations.push(["ins", [...path, gap], wanted.get(id) as Json]);
    present.splice(gap, 0, id);
  }
}

/** The most ids that stand in the new order already (a longest increasing subsequence). */
function inOrder(present: readonly Key[], ids: readonly Key[]): Set<Key> {
  const places = new Map(ids.map((id, index) => [id, index]));
  const ends: Key[] = []; // of a run of each length, the id at its end
  const before = new Map<Key, Key | undefined>(); // the one before it in its run
  const placeOf = (id: Key): number => places.get(id) as number;
  for (const id of present) {
    const length = firstNotBelow(ends, placeOf(id), placeOf);
    before.set(id, ends[length - 1]);
    ends[length] = id;
  }
  const found = new Set<Key>();
  for (let id = ends[ends.length - 1]; id !== undefined; id = before.get(id)) found.add(id);
  return found;
}

/** Where in `ends`, whose places increase, the first stands whose place is not below this one. */
function firstNotBelow(ends: readonly Key[], wanted: number, placeOf: (id: Key) => number): number {
  let low = 0;
  let high = ends.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (placeOf(ends[middle] as Key) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What makes one item another with the same id: an object changes member by member. */
function changing(path: Path, old: Json, now: Json): Operation[] {
  if (equal(old, now)) return [];
  if (!isObject(old) || !isObject(now)) return [["set", path, now]];
  return [
    ...namesOf(old).flatMap((name): Operation[] => (name in now ? [] : [["rem", [...path, name]]])),
    ...namesOf(now).flatMap((name): Operation[] => {
      const value = now[name] as Json;
      const before = child(old, name);
      return before !== undefined && equal(before, value) ? [] : [["set", [...path, name], value]];
    }),
  ];
}

/** Member names by UTF-16 code units: an order that every language has. */
const namesOf = (item: JsonObject): string[] => Object.keys(item).sort();

/** Is every item of an array that only grows still there? */
export function keepsItems(old: Json | undefined, now: Json | undefined, key: string): boolean {
  if (!isArray(old) || !old.length) return true;
  return isArray(now) && old.every((item) => itemId(item, key) === null || indexOf(now, item, key) >= 0);
}
