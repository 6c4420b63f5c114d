/** From a JSON Patch (RFC 6902 with `text` and `inc`) to kernel operations. */

import {
  apply,
  applyOne,
  checkTest,
  child,
  find,
  get,
  missing,
  type Operation,
  type Own,
} from "./documents.js";
import type { Patch } from "./emit.js";
import {
  beforeRemove,
  formatPointer,
  isGap,
  isOwnPlace,
  type Path,
  parseIndex,
  parsePointer,
  shown,
  startsWith,
} from "./paths.js";
import { difference, readDelta } from "./text.js";
import { transform } from "./transform.js";
import {
  CONFLICT,
  checkInteger,
  checkValue,
  equal,
  has,
  INVALID,
  isArray,
  isObject,
  type Json,
  type JsonObject,
  measure,
  PatchError,
  TOO_LARGE,
} from "./values.js";

/**
 * How concurrent edits of a field merge, as a schema's `x-merge` has it. The items of a set are known by the
 * member named, or by themselves; a `grow` is a set from which nothing is removed.
 */
export type Strategy =
  | "register"
  | "text"
  | "counter"
  | "set"
  | "grow"
  | { readonly set: string }
  | { readonly grow: string };
/** By JSON Pointer. Other fields are registers: the last writer wins. */
export type Strategies = Readonly<Record<string, Strategy>>;

export interface Limits {
  /** Containers in one another, of the document and so of path plus value. */
  depthMax: number;
  patchOperationsMax: number;
  /** What the `copy` operations of one patch may add, in bytes of compact JSON. */
  copiedBytesMax: number;
}

export const DEFAULT_LIMITS: Limits = { depthMax: 64, patchOperationsMax: 1000, copiedBytesMax: 1 << 20 };

// Slots of containers that a patch may have copied on its way, for each byte that it may add by `copy`: a
// thousand edits of one huge array would take seconds. Comparing an item's id costs as much as copying 8.
const SLOTS_PER_BYTE = 5;
const SLOTS_PER_COMPARISON = 8;
const SLOTS_PER_TRANSFORM = 16;

/** What one lowering may use. Without limits, what the server committed is taken as it is. */
class Bounds {
  own: Own = null;
  depthMax: number;
  copiedBytesLeft: number;
  #slotsLeft: number;

  constructor(readonly limits: Limits | null) {
    this.depthMax = limits?.depthMax ?? Infinity;
    this.copiedBytesLeft = limits?.copiedBytesMax ?? Infinity;
    this.#slotsLeft = SLOTS_PER_BYTE * this.copiedBytesLeft;
  }

  charge(slots: number): void {
    this.#slotsLeft -= slots;
    if (this.#slotsLeft < 0) {
      throw new PatchError(TOO_LARGE, "the patch edits large containers too often: send it in parts");
    }
  }

  /** The value of an entry, as it is stored at `tokens`. */
  value(entry: JsonObject, depth: number): Json {
    const value = entry.value;
    if (value === undefined) throw new PatchError(INVALID, `${shown(String(entry.op))} needs a value`);
    return this.limits ? checkValue(value, this.depthMax - depth) : value;
  }
}

/**
 * The kernel operations of a JSON Patch against the document that its author saw.
 *
 * Throws PatchError: `INVALID_OPERATION` (malformed, or a path that isn't there), `CONFLICT` (a `test`
 * failed), `TOO_LARGE` (a limit); `index` is the failing operation's position.
 */
export function lower(
  document: Json,
  patch: Patch,
  strategies: Strategies = {},
  limits: Limits | null = DEFAULT_LIMITS,
): Operation[] {
  if (!isArray(patch)) throw new PatchError(INVALID, "a patch must be an array of operations");
  if (limits && patch.length > limits.patchOperationsMax) {
    throw new PatchError(TOO_LARGE, `the patch has more than ${limits.patchOperationsMax} operations`);
  }
  const bounds = new Bounds(limits);
  const isSeveral = patch.length > 1;
  if (isSeveral && Object.values(strategies).some(isSet))
    return lowerWithSets(document, patch, strategies, bounds);
  if (isSeveral) bounds.own = new Set();
  const operations: Operation[] = [];
  let before = document;
  for (const [index, entry] of patch.entries()) {
    const found = indexed(index, () => lowerEntry(before, entry, strategies, bounds));
    operations.push(...found);
    if (index === patch.length - 1) break;
    before = indexed(index, () => found.reduce((node, one) => applyOne(node, one, bounds.own), before));
  }
  return operations;
}

/** What `step` gives; its error says which operation of the patch failed. */
function indexed<Result>(index: number, step: () => Result): Result {
  try {
    return step();
  } catch (error) {
    throw error instanceof PatchError ? new PatchError(error.code, error.message, index) : error;
  }
}

/** What a strategy says of an array that is a set: the member that is its items' id, "" for themselves. */
function idOf(strategy: Strategy | undefined): string | undefined {
  if (typeof strategy === "object") return "set" in strategy ? strategy.set : strategy.grow;
  return strategy === "set" || strategy === "grow" ? "" : undefined;
}

const isSet = (strategy: Strategy): boolean => idOf(strategy) !== undefined;

const strategyAt = (strategies: Strategies, path: Path): Strategy | undefined =>
  strategies[formatPointer(path)];

/**
 * The operations of a patch of several, where some arrays are sets.
 *
 * An `add` of an id that is there takes the old item's place, so the array is one shorter than in the author's
 * view, on which the paths after it stand. `detour` leads from that view to what there really is; whatever is
 * lowered on the view is carried past it.
 */
function lowerWithSets(document: Json, patch: Patch, strategies: Strategies, bounds: Bounds): Operation[] {
  const others = Object.fromEntries(Object.entries(strategies).filter(([, rule]) => !isSet(rule)));
  const operations: Operation[] = [];
  let view = document;
  let real = document;
  let detour: Operation[] = [];
  for (const [index, entry] of patch.entries()) {
    const literal = indexed(index, () => {
      const lowered = lowerEntry(view, entry, others, bounds);
      view = apply(view, lowered);
      bounds.charge(SLOTS_PER_TRANSFORM * detour.length);
      return lowered;
    });
    const { earlier, later } = transform(detour, literal);
    detour = earlier;
    for (const operation of later) {
      const known = knownItem(real, operation, strategies, bounds);
      let fresh: Operation[] = [operation];
      if (operation[0] === "ins" && known >= 0) {
        detour.push(...toOldPlace(operation[1], known));
        fresh = inPlaceOf(known, operation[1], operation[2]);
      }
      real = apply(real, fresh);
      operations.push(...fresh);
    }
  }
  return operations;
}

/** Where the item that an insertion into a set would double stands, or -1. */
function knownItem(document: Json, operation: Operation, strategies: Strategies, bounds: Bounds): number {
  if (operation[0] !== "ins") return -1;
  const container = operation[1].slice(0, -1);
  const key = idOf(strategyAt(strategies, container));
  if (key === undefined) return -1;
  const items = get(document, container) as readonly Json[];
  bounds.charge(SLOTS_PER_COMPARISON * items.length);
  return indexOf(items, operation[2], key);
}

/** The new item where the old one was, so that it beats a concurrent removal. */
function inPlaceOf(known: number, gap: Path, value: Json): Operation[] {
  const place = [...gap.slice(0, -1), known];
  return [
    ["rem", place],
    ["ins", place, value],
  ];
}

/** After a literal `ins` at `gap`: without the old item, and the new one moved to where that stood. */
function toOldPlace(gap: Path, known: number): Operation[] {
  const container = gap.slice(0, -1);
  const at = gap[container.length] as number;
  const old = known >= at ? known + 1 : known;
  const now = at > old ? at - 1 : at;
  const removal: Operation = ["rem", [...container, old]];
  if (now === known) return [removal];
  return [removal, ["mov", [...container, now], [...container, known < now ? known : known + 1]]];
}

/** Where in a set an item with the same id stands, or -1. */
function indexOf(items: readonly Json[], value: Json, key: string): number {
  const id = itemId(value, key);
  return id === null ? -1 : items.findIndex((item) => equal(itemId(item, key), id));
}

/** The id of a set's item; null where it has none. */
const itemId = (item: Json, key: string): Json => (key ? (child(item, key) ?? null) : item);

/** The operations of one entry of a patch. */
function lowerEntry(document: Json, entry: unknown, strategies: Strategies, bounds: Bounds): Operation[] {
  if (!isObject(entry)) throw new PatchError(INVALID, "an operation must be an object");
  const { op, path: pointer } = entry;
  if (typeof op !== "string") throw new PatchError(INVALID, "an operation needs a string op");
  if (typeof pointer !== "string") throw new PatchError(INVALID, "an operation needs a string path");
  const tokens = parsePointer(pointer);
  switch (op) {
    case "replace": {
      const value = bounds.value(entry, tokens.length);
      return lowerSet(document, locate(document, tokens, bounds), value, strategies);
    }
    case "add": {
      const value = bounds.value(entry, tokens.length);
      return lowerAdd(document, locatePlace(document, tokens, bounds), value, strategies, bounds);
    }
    case "remove":
      if (!tokens.length) throw new PatchError(INVALID, "the root can't be removed by an edit");
      return [["rem", locate(document, tokens, bounds)]];
    case "test":
      return [lowerTest(document, tokens, entry, bounds)];
    case "move":
      return lowerMove(document, sourceOf(entry), tokens, bounds);
    case "copy": {
      const value = get(document, locate(document, sourceOf(entry), bounds));
      bounds.copiedBytesLeft -= measure(value, bounds.depthMax - tokens.length, bounds.copiedBytesLeft);
      bounds.own?.clear(); // what is an operation's value must not change in place any more
      return lowerAdd(document, locatePlace(document, tokens, bounds), value, strategies, bounds);
    }
    case "text":
      return lowerText(document, locate(document, tokens, bounds), entry);
    case "inc":
      return lowerInc(document, locate(document, tokens, bounds), bounds.value(entry, 0));
  }
  throw new PatchError(INVALID, `unknown op ${shown(op)}`);
}

function sourceOf(entry: JsonObject): string[] {
  const { from } = entry;
  if (typeof from !== "string")
    throw new PatchError(INVALID, `${shown(String(entry.op))} needs a string from`);
  return parsePointer(from);
}

/** The typed path of an existing node. */
function locate(document: Json, tokens: readonly string[], bounds: Bounds): Path {
  const path: (string | number)[] = [];
  let node = document;
  for (const token of tokens) {
    if (isArray(node)) {
      bounds.charge(node.length);
      const index = parseIndex(token);
      if (index < 0) throw new PatchError(INVALID, `${shown(token)} is not the index of an element`);
      path.push(index);
    } else {
      if (bounds.limits && isObject(node)) bounds.charge(Object.keys(node).length);
      path.push(token);
    }
    const next = child(node, path[path.length - 1]);
    if (next === undefined) throw missing(path);
    node = next;
  }
  return path;
}

/** The typed path of where a value may be added: [] is the root, a number at the end is a gap. */
function locatePlace(document: Json, tokens: readonly string[], bounds: Bounds): Path {
  const token = tokens[tokens.length - 1];
  if (token === undefined) return [];
  const container = locate(document, tokens.slice(0, -1), bounds);
  const parent = get(document, container);
  if (isObject(parent)) return [...container, token];
  if (!isArray(parent)) throw missing([...container, token]);
  const size = parent.length;
  bounds.charge(size);
  const index = token === "-" ? size : parseIndex(token);
  if (index < 0 || index > size) {
    throw new PatchError(INVALID, `${shown(token)} is not the index of a place in an array of ${size}`);
  }
  return [...container, index];
}

function lowerAdd(
  document: Json,
  place: Path,
  value: Json,
  strategies: Strategies,
  bounds: Bounds,
): Operation[] {
  if (!isGap(place)) return lowerSet(document, place, value, strategies);
  const insertion: Operation = ["ins", place, value];
  const known = knownItem(document, insertion, strategies, bounds);
  return known < 0 ? [insertion] : inPlaceOf(known, place, value);
}

/** A value for a member, an element or the root, as its field's strategy has it. */
function lowerSet(document: Json, path: Path, value: Json, strategies: Strategies): Operation[] {
  const rule = strategyAt(strategies, path);
  const old = rule && find(document, path);
  if (rule === "text" && typeof old === "string" && typeof value === "string") {
    const delta = difference(old, value);
    return delta.length ? [["txt", path, delta]] : [];
  }
  if (rule === "counter" && Number.isSafeInteger(old) && Number.isSafeInteger(value)) {
    const amount = (value as number) - (old as number);
    if (Number.isSafeInteger(amount)) return amount ? [["inc", path, amount]] : [];
  }
  return [["set", path, value]];
}

function lowerTest(document: Json, tokens: readonly string[], entry: JsonObject, bounds: Bounds): Operation {
  const value = bounds.value(entry, 0);
  let path: Path;
  try {
    path = locate(document, tokens, bounds);
  } catch (error) {
    throw error instanceof PatchError ? new PatchError(CONFLICT, `test failed: ${error.message}`) : error;
  }
  checkTest(document, path, value);
  return ["tst", path, value];
}

function lowerMove(document: Json, from: string[], tokens: string[], bounds: Bounds): Operation[] {
  const isIntoItself = startsWith(tokens, from);
  const source = locate(document, from, bounds);
  if (isIntoItself && tokens.length === from.length) return [];
  if (isIntoItself) throw new PatchError(INVALID, "a node can't move into itself");
  const value = get(document, source);
  if (!tokens.length) return captured(["set", [], value], bounds);
  const place = locatePlace(applyOne(document, ["rem", source], null), tokens, bounds);
  if (bounds.limits) measure(value, bounds.depthMax - place.length, Infinity);
  const target = beforeRemove(place, source);
  if (isGap(place)) return isOwnPlace(source, target) ? [] : [["mov", source, target]];
  if (startsWith(source, place)) return captured(["set", place, value], bounds);
  const move: Operation = ["mov", source, target];
  return find(document, target) === undefined ? [move] : [["rem", target], move];
}

/** An operation whose value is a part of the document, which must not change in place any more. */
function captured(operation: Operation, bounds: Bounds): Operation[] {
  bounds.own?.clear();
  return [operation];
}

function textAt(document: Json, path: Path): string {
  const text = get(document, path);
  if (typeof text !== "string")
    throw new PatchError(INVALID, `no string is at ${shown(formatPointer(path))}`);
  return text;
}

function lowerText(document: Json, path: Path, entry: JsonObject): Operation[] {
  const text = textAt(document, path);
  const unit = has(entry, "unit") ? entry.unit : "codepoint";
  if (unit !== "codepoint" && unit !== "utf16") {
    throw new PatchError(INVALID, "the unit of a text operation is codepoint or utf16");
  }
  if (!has(entry, "value")) throw new PatchError(INVALID, "text needs a value");
  const delta = readDelta(entry.value, text, unit === "utf16");
  return delta.length ? [["txt", path, delta]] : [];
}

function lowerInc(document: Json, path: Path, amount: Json): Operation[] {
  const target = get(document, path);
  if (typeof amount !== "number" || typeof target !== "number" || !Number.isInteger(amount + target)) {
    throw new PatchError(INVALID, `inc needs an integer, and an integer at ${shown(formatPointer(path))}`);
  }
  checkInteger(target + checkInteger(amount));
  return amount ? [["inc", path, amount]] : [];
}
