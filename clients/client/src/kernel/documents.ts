/** Documents and kernel operations: looking up, and applying with path copies. */

import { afterRemove, formatPointer, isGap, type Path, shown } from "./paths.js";
import { applyDelta, type Delta } from "./text.js";
import {
  CONFLICT,
  equal,
  has,
  invalid,
  isArray,
  isObject,
  type Json,
  type JsonObject,
  PatchError,
  put,
} from "./values.js";

/** A node goes to a gap or to an absent member. */
export type Move = readonly ["mov", Path, Path];

/** All coordinates are from before the operation, those of a move's place included. */
export type Operation =
  /** An element before the gap at the end of the place. */
  | readonly ["ins", Path, Json]
  | readonly ["rem", Path]
  /** A member or an element or the root gets a value. */
  | readonly ["set", Path, Json]
  | Move
  | readonly ["txt", Path, Delta]
  | readonly ["inc", Path, number]
  /** `apply` compares; the path is null when a concurrent edit took the target. */
  | readonly ["tst", Path | null, Json];
export type Operations = readonly Operation[];

/** Containers that the same run of operations copied before: they change in place. */
export type Own = Set<Json> | null;

export const missing = (path: Path): PatchError => invalid(`nothing is at ${shown(formatPointer(path))}`);

/** The child of `parent` under `token`, if there is one. */
export function child(parent: Json | undefined, token: string | number | undefined): Json | undefined {
  if (isArray(parent)) return typeof token === "number" ? parent[token] : undefined;
  return isObject(parent) && typeof token === "string" && has(parent, token) ? parent[token] : undefined;
}

/** The value at a typed path, undefined when there is none. */
export function find(document: Json, path: Path): Json | undefined {
  let node: Json | undefined = document;
  for (const token of path) node = child(node, token);
  return node;
}

/** The value at a typed path; PatchError when there is none. */
export function get(document: Json, path: Path): Json {
  const value = find(document, path);
  if (value === undefined) throw missing(path);
  return value;
}

/** The document after `operations`; containers off their paths are shared with the old one. */
export function apply(document: Json, operations: Operations): Json {
  const own: Own = operations.length > 1 ? new Set() : null;
  return operations.reduce((before, operation) => applyOne(before, operation, own), document);
}

/** The document after one operation. Where the one before it is needed afterwards, `own` is null. */
export function applyOne(document: Json, operation: Operation, own: Own): Json {
  if (operation[0] === "tst") {
    checkTest(document, operation[1], operation[2]);
    return document;
  }
  if (operation[0] !== "mov") return edited(document, operation, 0, own);
  const [, source, target] = operation;
  const value = get(document, source);
  const place = afterRemove(target, source);
  const without = edited(document, ["rem", source], 0, own);
  return edited(without, [isGap(place) ? "ins" : "set", place, value], 0, own);
}

export function checkTest(document: Json, path: Path | null, value: Json): void {
  if (!path || !equal(find(document, path), value)) {
    const where = path ? `the value at ${shown(formatPointer(path))}` : "what was removed meanwhile";
    throw new PatchError(CONFLICT, `${where} is not what the patch tests for`);
  }
}

type Edit = Exclude<Operation, readonly ["mov" | "tst", ...unknown[]]>;

/** `node`, which is at the first `depth` components of the edit's path, after the edit. */
function edited(node: Json, edit: Edit, depth: number, own: Own): Json {
  const path = edit[1];
  if (depth === path.length) return editedValue(node, edit);
  const token = path[depth] as string | number;
  const isLast = depth === path.length - 1;
  const old = child(node, token);
  if (isLast && edit[0] === "ins") {
    if (!isArray(node) || typeof token !== "number" || token > node.length) throw missing(path);
  } else if (
    old === undefined &&
    !(isLast && edit[0] === "set" && typeof token === "string" && isObject(node))
  ) {
    throw missing(path.slice(0, depth + 1));
  }
  const copy = copied(node as Json[] | JsonObject, own);
  if (isArray(copy)) {
    const items = copy as Json[];
    if (isLast && edit[0] === "ins") items.splice(token as number, 0, edit[2]);
    else if (isLast && edit[0] === "rem") items.splice(token as number, 1);
    else items[token as number] = edited(old as Json, edit, depth + 1, own);
  } else if (isLast && edit[0] === "rem") delete (copy as Record<string, Json>)[token];
  else put(copy, token as string, edited(old as Json, edit, depth + 1, own));
  return copy;
}

function copied<Container extends Json[] | JsonObject>(container: Container, own: Own): Container {
  if (own?.has(container)) return container;
  const copy = (isArray(container) ? container.slice() : { ...container }) as Container;
  own?.add(copy);
  return copy;
}

/** The new value of a node that stays where it is. */
function editedValue(value: Json, edit: Edit): Json {
  if (edit[0] === "set") return edit[2];
  if (edit[0] === "txt" && typeof value === "string") return applyDelta(value, edit[2]);
  if (edit[0] === "inc" && Number.isSafeInteger(value)) return (value as number) + edit[2];
  throw invalid(`${edit[0]} does not fit there`);
}
