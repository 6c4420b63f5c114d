/**
 * JSON Pointers (RFC 6901), typed paths, and how a concurrent operation moves them.
 *
 * In a typed path a number is an array's index and a string an object's key. The last component of an
 * insertion's place is a *gap*: the index before which something will stand.
 */

import { checkString, invalid } from "./values.js";

export type Path = readonly (string | number)[];

/** `text` for an error message, bounded. */
export const shown = (text: string): string =>
  JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);

/** The tokens of a JSON Pointer, unescaped. */
export function parsePointer(pointer: string): string[] {
  if (!pointer) return [];
  if (pointer[0] !== "/" || /~(?![01])/.test(pointer)) {
    throw invalid(`path ${shown(pointer)} is no JSON Pointer like "/a/0"`);
  }
  checkString(pointer);
  const tokens = pointer.slice(1).split("/");
  return tokens.map((token) => token.replace(/~1/g, "/").replace(/~0/g, "~"));
}

/** An array index, ASCII `0|[1-9][0-9]*` of at most 15 digits, or -1 when the token is none. */
export const parseIndex = (token: string): number => (/^(0|[1-9]\d{0,14})$/.test(token) ? Number(token) : -1);

export const formatPointer = (path: Path): string =>
  path.map((token) => `/${String(token).replace(/~/g, "~0").replace(/\//g, "~1")}`).join("");

/** Are the first `depth` components equal? Both paths must have as many. */
function shares(path: Path, other: Path, depth: number): boolean {
  for (let i = 0; i < depth; i++) if (path[i] !== other[i]) return false;
  return true;
}

/** Is `path` at or under `prefix`? */
export const startsWith = (path: Path, prefix: Path): boolean =>
  path.length >= prefix.length && shares(path, prefix, prefix.length);

/** Is the container of `place` at or under `node`? */
export const isInside = (place: Path, node: Path): boolean =>
  place.length > node.length && startsWith(place, node);

export const samePath = (path: Path, other: Path): boolean =>
  path.length === other.length && startsWith(path, other);

export const isGap = (place: Path): boolean => typeof place.at(-1) === "number";

/**
 * The index that `path` has in the array in which `at` has one, at its end. Undefined where it isn't in that array: then
 * each comparison is false, unlike one of a number with a name that is a number too.
 */
function indexIn(path: Path, at: Path): number {
  const depth = at.length - 1;
  return isGap(at) && path.length > depth && shares(path, at, depth)
    ? (path[depth] as number)
    : (undefined as never);
}

function shifted(path: Path, depth: number, by: number): Path {
  const components = path.slice();
  (components[depth] as number) += by;
  return components;
}

/** `path` after an insertion at the gap `at`. `stays`: `path` is a place that keeps left on a tie. */
export function afterInsert(path: Path, at: Path, stays: boolean): Path {
  const index = indexIn(path, at);
  const depth = at.length - 1;
  const gap = at[depth] as number;
  if (index === gap && stays && path.length === at.length) return path;
  return index >= gap ? shifted(path, depth, 1) : path;
}

/** `path`, which isn't inside what goes, after the removal of the node `removed`. */
export function afterRemove(path: Path, removed: Path): Path {
  const depth = removed.length - 1;
  return indexIn(path, removed) > (removed[depth] as number) ? shifted(path, depth, -1) : path;
}

/** The inverse of `afterRemove`: a path after the removal in coordinates from before it. */
export function beforeRemove(path: Path, removed: Path): Path {
  const depth = removed.length - 1;
  return indexIn(path, removed) >= (removed[depth] as number) ? shifted(path, depth, 1) : path;
}

/** `path` after a move. `isPlace`: its last component is a gap or a member to come, not a node. */
export function afterMove(path: Path, source: Path, target: Path, isPlace: boolean, stays: boolean): Path {
  if (isPlace ? isInside(path, source) : startsWith(path, source)) {
    return [...afterRemove(target, source), ...path.slice(source.length)];
  }
  const closed = afterRemove(path, source);
  // Both shifts compare with the index from before the move, each at its own depth.
  return afterInsert(path, target, isPlace && stays) === path
    ? closed
    : shifted(closed, target.length - 1, 1);
}

/** Would a move from `source` to `target` leave everything where it is? */
export function isOwnPlace(source: Path, target: Path): boolean {
  const depth = source.length - 1;
  if (target.length !== source.length || !shares(source, target, depth)) return false;
  return target[depth] === source[depth] || (isGap(target) && target[depth] === Number(source[depth]) + 1);
}
