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
import { indexOf, isKept, replacing } from "./sets.js";
import { difference } from "./spans.js";
import { grows, idOf, isSet, type Strategies, strategyAt } from "./strategies.js";
import { readDelta } from "./text.js";
import { transform } from "./transform.js";
import {
  CONFLICT,
  checkInteger,
  checkValue,
  invalid,
  isArray,
  isObject,
  type Json,
  type JsonObject,
  PatchError,
  TOO_LARGE,
  walk,
} from "./values.js";

/** What a client asks of its own patches. What `copy` may add, the server alone counts. */
export interface Limits {
  /** Containers in one another, of the document and so of path plus value. */
  depthMax: number;
  patchOperationsMax: number;
}

export const DEFAULT_LIMITS: Limits = { depthMax: 64, patchOperationsMax: 1000 };

/** Of one lowering. Without limits, what the server committed is taken as it is. */
interface Context {
  readonly strategies: Strategies;
  readonly limits: Limits | null;
  readonly own: Own;
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
  if (!isArray(patch)) throw invalid("a patch must be an array of operations");
  if (limits && patch.length > limits.patchOperationsMax) {
    throw new PatchError(TOO_LARGE, `the patch has more than ${limits.patchOperationsMax} operations`);
  }
  const lost: Lost[] = [];
  const operations =
    patch.length > 1 && Object.values(strategies).some(isSet)
      ? lowerWithSets(document, patch, strategies, limits, lost)
      : lowerEntries(document, patch, strategies, limits, lost);
  if (lost.length) {
    const after = apply(document, operations);
    if (after !== null) for (const check of lost) check(after); // deleting the whole document may
  }
  return operations;
}

/** Refuses an entry that takes something out of an array that only grows, if it isn't in the document `after`. */
type Lost = (after: Json) => void;

function lowerEntries(
  document: Json,
  patch: Patch,
  strategies: Strategies,
  limits: Limits | null,
  lost: Lost[],
): Operation[] {
  const context = { strategies, limits, own: new Set<Json>() };
  const operations: Operation[] = [];
  let view = document;
  for (const [index, entry] of patch.entries()) {
    const lowered = indexed(index, () => {
      const found = lowerEntry(view, entry, context);
      if (lost.push(...takenOut(view, found, strategies, index))) context.own.clear(); // for what they hold
      if (index < patch.length - 1)
        view = found.reduce((node, one) => applyOne(node, one, context.own), view);
      return found;
    });
    operations.push(...lowered);
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

/**
 * The operations of a patch of several, where some arrays are sets.
 *
 * An `add` of an id that is there takes the old item's place, so the array is one shorter than in the author's
 * view, on which the paths after it stand. `detour` leads from that view to what there really is; whatever is
 * lowered on the view is carried past it.
 */
function lowerWithSets(
  document: Json,
  patch: Patch,
  strategies: Strategies,
  limits: Limits | null,
  lost: Lost[],
): Operation[] {
  const others = Object.fromEntries(Object.entries(strategies).filter(([, rule]) => !isSet(rule)));
  const operations: Operation[] = [];
  let view = document;
  let real = document;
  let detour: Operation[] = [];
  for (const [index, entry] of patch.entries()) {
    const literal = indexed(index, () => {
      const lowered = lowerEntry(view, entry, { strategies: others, limits, own: null });
      lost.push(...takenOut(view, lowered, strategies, index));
      view = apply(view, lowered);
      return lowered;
    });
    const { earlier, later } = transform(detour, literal);
    detour = earlier;
    for (const operation of later) {
      const known = knownItem(real, operation, strategies);
      let fresh: Operation[] = [operation];
      if (operation[0] === "ins" && known >= 0) {
        detour.push(...toOldPlace(operation[1], known));
        fresh = inPlaceOf(known, operation[1], operation[2]);
      } else if (operation[0] === "set" && isSet(strategyAt(strategies, operation[1]))) {
        fresh = lowerSet(real, operation[1], operation[2], { strategies, limits, own: null });
        if (!isWhole(fresh, operation[1])) detour.push(...doubles(operation[1], operation[2], strategies));
      }
      real = apply(real, fresh);
      operations.push(...fresh);
    }
  }
  return operations;
}

/** Is it one `set` of what is at `path`? */
const isWhole = ([first, second]: readonly Operation[], path: Path): boolean =>
  !second && first?.[0] === "set" && first[1].length === path.length;

/** From an array as its author wrote it to what `replacing` makes of it, where an id is twice in it. */
function doubles(path: Path, written: Json, strategies: Strategies): Operation[] {
  const operations: Operation[] = [];
  const key = idOf(strategyAt(strategies, path));
  if (key === undefined || !isArray(written)) return operations;
  const items = written.slice();
  for (let index = items.length - 1; index >= 0; index--) {
    const first = indexOf(items, items[index]!, key);
    if (first < 0 || first === index) continue;
    items.splice(index, 1);
    operations.push(["rem", [...path, index]]);
  }
  return operations;
}

/** For what the operations of an entry take out of arrays that only grow. */
function takenOut(
  document: Json,
  operations: readonly Operation[],
  strategies: Strategies,
  index: number,
): Lost[] {
  return Object.entries(strategies).flatMap(([pointer, rule]) => {
    const path = parsePointer(pointer);
    const key = idOf(rule) ?? "";
    const old = find(document, path);
    if (!grows(rule) || !isArray(old) || !operations.some((one) => takesId(one, path, key))) return [];
    const isIn = (view: Json) => isKept(old, find(view, path), key);
    if (isIn(apply(document, operations))) return [];
    return (end: Json) =>
      indexed(index, () => {
        if (!isIn(end)) throw invalid(`${shown(pointer)} only grows: nothing can be taken out of it`);
      });
  });
}

/** Do operations take nothing out of arrays that only grow, unless they delete the document? */
export const isKeeping = (
  document: Json,
  operations: readonly Operation[],
  strategies: Strategies,
): boolean => !takenOut(document, operations, strategies, 0).length || apply(document, operations) === null;

/** May an operation take an id out of the set at `container`? */
function takesId([kind, at, to]: Operation, container: Path, key: string): boolean {
  if (kind === "ins" || kind === "tst") return false;
  const isItem = (path: Path) => path.length === container.length + 1 && startsWith(path, container);
  if (kind === "mov" && isItem(at) && isItem(to)) return false;
  const inner = at[container.length + 1];
  return (
    startsWith(container, at) || (startsWith(at, container) && (inner === undefined || !key || inner === key))
  );
}

/** Where the item that an insertion into a set would double stands, or -1. */
function knownItem(document: Json, operation: Operation, strategies: Strategies): number {
  if (operation[0] !== "ins") return -1;
  const container = operation[1].slice(0, -1);
  const key = idOf(strategyAt(strategies, container));
  return key === undefined ? -1 : indexOf(get(document, container) as readonly Json[], operation[2], key);
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

/** The operations of one entry of a patch. */
function lowerEntry(document: Json, entry: unknown, context: Context): Operation[] {
  if (!isObject(entry)) throw invalid("an operation must be an object");
  const tokens = parsePointer(stringIn(entry, "path"));
  switch (stringIn(entry, "op")) {
    case "replace": {
      const value = argument(entry, tokens, context);
      return lowerSet(document, locate(document, tokens), value, context);
    }
    case "add":
      return lowerAdd(document, tokens, argument(entry, tokens, context), context);
    case "remove":
      if (!tokens.length) throw invalid("the root can't be removed by an edit");
      return [["rem", locate(document, tokens)]];
    case "test":
      return [lowerTest(document, tokens, argument(entry, [], context))];
    case "move":
      return lowerMove(document, parsePointer(stringIn(entry, "from")), tokens, context);
    case "copy": {
      const value = get(document, locate(document, parsePointer(stringIn(entry, "from"))));
      return captured(lowerAdd(document, tokens, fitting(value, tokens, context), context), context);
    }
    case "text":
      return lowerText(document, locate(document, tokens), entry);
    case "inc":
      return lowerInc(document, locate(document, tokens), argument(entry, [], context));
  }
  throw invalid(`unknown op ${shown(entry.op as string)}`);
}

function stringIn(entry: JsonObject, key: string): string {
  const value = entry[key];
  if (typeof value !== "string") throw invalid(`an operation needs a string ${key}`);
  return value;
}

/** The value of an entry, as it is stored at `tokens`. */
function argument(entry: JsonObject, tokens: Path, { limits }: Context): Json {
  const { value } = entry;
  if (value === undefined) throw invalid("an operation needs a value");
  return limits ? checkValue(value, limits.depthMax - tokens.length) : value;
}

/** `value`, a part of the document, if it doesn't come to stand too deep at `place`. */
function fitting(value: Json, place: Path, { limits }: Context): Json {
  if (limits) walk(value, limits.depthMax - place.length);
  return value;
}

/** Operations whose value is a part of the document, which must not change in place any more. */
function captured(operations: Operation[], { own }: Context): Operation[] {
  own?.clear();
  return operations;
}

/** The typed path of an existing node. */
function locate(document: Json, tokens: readonly string[]): Path {
  const path: (string | number)[] = [];
  let node = document;
  for (const token of tokens) {
    path.push(isArray(node) ? indexOfToken(token) : token);
    const next = child(node, path.at(-1));
    if (next === undefined) throw missing(path);
    node = next;
  }
  return path;
}

function indexOfToken(token: string): number {
  const index = parseIndex(token);
  if (index < 0) throw invalid(`${shown(token)} is not an index of an array`);
  return index;
}

/** The typed path of where a value may be added: [] is the root, a number at the end is a gap. */
function locatePlace(document: Json, tokens: readonly string[]): Path {
  const token = tokens.at(-1);
  if (token === undefined) return [];
  const container = locate(document, tokens.slice(0, -1));
  const parent = get(document, container);
  if (isObject(parent)) return [...container, token];
  if (!isArray(parent)) throw missing([...container, token]);
  const index = token === "-" ? parent.length : indexOfToken(token);
  if (index > parent.length) throw missing([...container, index]);
  return [...container, index];
}

function lowerAdd(document: Json, tokens: readonly string[], value: Json, context: Context): Operation[] {
  const place = locatePlace(document, tokens);
  if (!isGap(place)) return lowerSet(document, place, value, context);
  const insertion: Operation = ["ins", place, value];
  const known = knownItem(document, insertion, context.strategies);
  return known < 0 ? [insertion] : inPlaceOf(known, place, value);
}

/** A value for a member, an element or the root, as its field's strategy has it. */
function lowerSet(document: Json, path: Path, value: Json, { strategies }: Context): Operation[] {
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
  const key = idOf(rule);
  const items = key !== undefined && isArray(old) && isArray(value) && replacing(path, old, value, key);
  return items || [["set", path, value]];
}

function lowerTest(document: Json, tokens: readonly string[], value: Json): Operation {
  let path: Path;
  try {
    path = locate(document, tokens);
  } catch (error) {
    throw error instanceof PatchError ? new PatchError(CONFLICT, `test failed: ${error.message}`) : error;
  }
  checkTest(document, path, value);
  return ["tst", path, value];
}

function lowerMove(document: Json, from: string[], tokens: string[], context: Context): Operation[] {
  const source = locate(document, from);
  if (startsWith(tokens, from)) {
    if (tokens.length === from.length) return [];
    throw invalid("a node can't move into itself");
  }
  const value = get(document, source);
  if (!tokens.length) return captured([["set", [], value]], context);
  const place = locatePlace(applyOne(document, ["rem", source], null), tokens);
  fitting(value, place, context);
  const target = beforeRemove(place, source);
  if (isGap(place)) return isOwnPlace(source, target) ? [] : [["mov", source, target]];
  if (startsWith(source, place)) return captured([["set", place, value]], context);
  const move: Operation = ["mov", source, target];
  return find(document, target) === undefined ? [move] : [["rem", target], move];
}

function lowerText(document: Json, path: Path, { value, unit = "codepoint" }: JsonObject): Operation[] {
  const text = get(document, path);
  if (typeof text !== "string") throw invalid(`text needs a string at ${shown(formatPointer(path))}`);
  if (unit !== "codepoint" && unit !== "utf16") {
    throw invalid("a unit is codepoint or utf16");
  }
  const delta = readDelta(value, text, unit === "utf16");
  return delta.length ? [["txt", path, delta]] : [];
}

function lowerInc(document: Json, path: Path, amount: Json): Operation[] {
  const target = get(document, path);
  if (typeof amount !== "number" || typeof target !== "number" || !Number.isInteger(amount + target)) {
    throw invalid(`inc needs integers, the value and what is at ${shown(formatPointer(path))}`);
  }
  checkInteger(target + checkInteger(amount));
  return amount ? [["inc", path, amount]] : [];
}
