/**
 * Transformation of concurrent operations.
 *
 * T(a, b) is what `a` becomes after `b`, both defined on one document; `later` tells whether `a` comes after
 * `b` in the server's order. An empty list means that nothing is left to do. TP1 holds: b then T(a, b) gives
 * the document that a then T(b, a) gives. One server orders all changes, so TP1 is enough.
 */

import type { Move, Operation, Operations } from "./documents.js";
import {
  afterInsert,
  afterMove,
  afterRemove,
  isGap,
  isInside,
  isOwnPlace,
  type Path,
  samePath,
  startsWith,
} from "./paths.js";
import { transformDelta } from "./text.js";
import { CONFLICT, equal, PatchError } from "./values.js";

type Other = Exclude<Operation, Move>;

// The work that lists of n and m may cost, in calls of T: far above what was ever measured (3nm).
const CALLS_PER_PAIR = 20;
const CALLS_SPARE = 1000;

/** What a list lost on its way past another, as bits. A move of the earlier list became a removal. */
export const EARLIER_MOVE_CUT = 1;
/** An operation of the later list became nothing. */
const LATER_GONE = 2;
/** ... and it was no removal; or a move of it became a removal. */
export const LATER_WRITE_LOST = 4;

/** The same operation at another path. */
const movedTo = (operation: Other, path: Path): Operation =>
  path === operation[1] ? operation : ([operation[0], path, ...operation.slice(2)] as unknown as Operation);

/** What is left of an operation whose target went: nothing, but a test that now fails stays one. */
const gone = (a: Operation): Operation[] => (a[0] === "tst" ? [["tst", null, a[2]]] : []);

/** T(a, b). */
export function against(a: Operation, b: Operation, later: boolean): Operation[] {
  if (!a[1] || !b[1]) return [a];
  if (a[0] === "mov") return moveAgainst(a, b, later);
  const path = a[1];
  switch (b[0]) {
    case "set":
      return againstSet(a, path, b, later);
    case "ins":
      return [movedTo(a, afterInsert(path, b[1], !later && a[0] === "ins"))];
    case "rem":
      return againstRemove(a, path, b[1], later);
    case "mov":
      return againstMove(a, path, b, later);
    case "txt":
      if (a[0] === "txt" && samePath(path, b[1])) {
        const delta = transformDelta(a[2], b[2], later);
        return delta.length ? [["txt", path, delta]] : [];
      }
  }
  return [a]; // a test or an increment changes no other operation
}

function againstRemove(a: Other, path: Path, removed: Path, later: boolean): Operation[] {
  if (!startsWith(path, removed)) return [movedTo(a, afterRemove(path, removed))];
  if (path.length > removed.length) return gone(a);
  if (a[0] === "ins") return [a];
  if (a[0] === "set" && later) return [isGap(path) ? ["ins", path, a[2]] : a];
  return gone(a);
}

function againstSet(a: Other, path: Path, b: readonly ["set", Path, unknown], later: boolean): Operation[] {
  if (!startsWith(path, b[1])) return [a];
  if (path.length > b[1].length) return gone(a);
  if (a[0] === "set") return later && !equal(a[2], b[2] as (typeof a)[2]) ? [a] : [];
  return a[0] === "ins" || a[0] === "tst" || (a[0] === "rem" && later) ? [a] : [];
}

function againstMove(a: Other, path: Path, [, source, target]: Move, later: boolean): Operation[] {
  if (a[0] === "set" && !isGap(path) && samePath(path, target)) {
    return later ? [["set", afterRemove(path, source), a[2]]] : [];
  }
  const result = movedTo(a, afterMove(path, source, target, a[0] === "ins", !later));
  if ((a[0] === "rem" || a[0] === "set") && isInside(source, path) && !isInside(target, path)) {
    // Delete chases: what was moved out of the deleted or replaced node goes too.
    const destination = afterRemove(target, source);
    return [["rem", destination], movedTo(result as Other, afterRemove(result[1] as Path, destination))];
  }
  return [result];
}

/** T(a, b) of a move against anything. */
function moveAgainst(a: Move, b: Operation, later: boolean): Operation[] {
  const [, source, target] = a;
  const at = b[1] as Path;
  switch (b[0]) {
    case "ins":
      return moved(a, afterInsert(source, at, false), afterInsert(target, at, !later));
    case "rem":
      if (startsWith(source, at)) return [];
      if (isInside(target, at)) return [["rem", afterRemove(source, at)]];
      return moved(a, afterRemove(source, at), afterRemove(target, at));
    case "set":
      if (isInside(source, at)) return [];
      if (!isGap(at) && samePath(target, at)) return later ? [["rem", at], a] : [["rem", source]];
      return isInside(target, at) ? [["rem", source]] : [a];
    case "mov":
      return moveAgainstMove(a, b, later);
  }
  return [a];
}

/** The move `a` with other coordinates, or nothing where it would end on its own place. */
function moved(a: Move, source: Path, target: Path): Operation[] {
  if (source === a[1] && target === a[2]) return [a];
  return isOwnPlace(source, target) ? [] : [["mov", source, target]];
}

/** The move that puts the node back, in coordinates after the move. */
export function inverseMove(source: Path, target: Path): Operation {
  const destination = afterRemove(target, source);
  return ["mov", destination, isGap(destination) ? afterInsert(source, destination, false) : source];
}

function moveAgainstMove(a: Move, b: Move, later: boolean): Operation[] {
  const [, source, target] = a;
  const [, otherSource, otherTarget] = b;
  if (samePath(source, otherSource)) {
    if (!later) return [];
    const onward = afterMove(target, otherSource, otherTarget, true, false);
    return moved(a, afterRemove(otherTarget, otherSource), onward);
  }
  if (isInside(target, otherSource) && isInside(otherTarget, source)) {
    return later ? [] : [inverseMove(otherSource, otherTarget), a]; // a cycle
  }
  if (!isGap(target) && samePath(target, otherTarget)) return sameMember(a, b, later);
  return moved(
    a,
    afterMove(source, otherSource, otherTarget, false, false),
    afterMove(target, otherSource, otherTarget, true, !later),
  );
}

/** Two moves of different nodes onto one member: the later one has it. */
function sameMember(a: Move, [, otherSource, otherTarget]: Move, later: boolean): Operation[] {
  const source = a[1];
  if (later && startsWith(source, otherSource)) return [];
  if (!later && startsWith(otherSource, source)) return [inverseMove(otherSource, otherTarget), a];
  const onward = afterMove(source, otherSource, otherTarget, false, false);
  if (!later) return [["rem", onward]];
  const place = afterRemove(otherTarget, otherSource);
  return [
    ["rem", place],
    ["mov", onward, place],
  ];
}

/** The loss bits of one T. */
function loss(operation: Operation, result: Operation[], later: boolean): number {
  const [first] = result;
  if (!first) {
    if (!later) return 0;
    return operation[0] === "rem" ? LATER_GONE : LATER_GONE | LATER_WRITE_LOST;
  }
  if (result.length > 1 || operation[0] !== "mov" || first[0] !== "rem") return 0;
  return later ? LATER_WRITE_LOST : EARLIER_MOVE_CUT;
}

/** What one transformation of lists may still do, and what it lost so far. */
interface Work {
  callsLeft: number;
  losses: number;
}

interface Transformed {
  earlier: Operation[];
  later: Operation[];
  losses: number;
}

/**
 * Two lists on one document, each past the other: `earlier` + later' and `later` + earlier' give the same
 * document. Throws PatchError `CONFLICT` when the work passes 20nm + 1,000 steps for lists of n and m.
 */
export function transform(earlier: Operations, later: Operations): Transformed {
  const work = { callsLeft: CALLS_PER_PAIR * earlier.length * later.length + CALLS_SPARE, losses: 0 };
  let passed = earlier.slice();
  const crossed: Operation[] = [];
  for (const operation of later) passed = passOne(operation, passed, crossed, work);
  return { earlier: passed, later: crossed, losses: work.losses };
}

/** Take one later operation past all earlier ones, to `crossed`; the earlier ones past it. */
function passOne(later: Operation, earlier: Operation[], crossed: Operation[], work: Work): Operation[] {
  const passed: Operation[] = [];
  let operation = later;
  for (const [index, other] of earlier.entries()) {
    if (areApart(operation, other)) {
      passed.push(other);
      continue;
    }
    const own = meet(other, operation, passed, work);
    if (own.length !== 1) {
      const rest = earlier.slice(index + 1);
      return passed.concat(own.length ? passSeveral(own, rest, crossed, work) : rest);
    }
    operation = own[0] as Operation;
  }
  crossed.push(operation);
  return passed;
}

/**
 * As `passOne`, for what one operation became.
 *
 * Lay the lists out as the word e_n' .. e_1' l_1 .. l_m, in which a prime means "undone": rewrite each
 * neighbouring pair e' l to T(l, e) T(e, l)' until every l stands left. No recursion, so a chain of
 * expansions costs work, which is capped, but never stack.
 */
function passSeveral(own: Operation[], rest: Operation[], crossed: Operation[], work: Work): Operation[] {
  const earlier = rest.reverse(); // the earlier operations to be met, the next one last
  const ahead = own.map((operation) => ({ operation, isLater: true })).reverse(); // the first symbol last
  for (let next = ahead.pop(); next; next = ahead.pop()) {
    const { operation, isLater } = next;
    const other = isLater ? earlier.pop() : undefined;
    if (!isLater) earlier.push(operation);
    else if (!other) crossed.push(operation);
    else {
      const others: Operation[] = [];
      const expanded = meet(other, operation, others, work);
      for (const item of others) ahead.push({ operation: item, isLater: false });
      for (const item of expanded.reverse()) ahead.push({ operation: item, isLater: true });
    }
  }
  return earlier.reverse();
}

/** Both transformations of a pair: T(earlier, later) goes to `passed`, T(later, earlier) is returned. */
function meet(earlier: Operation, later: Operation, passed: Operation[], work: Work): Operation[] {
  if (--work.callsLeft < 0) {
    throw new PatchError(CONFLICT, "the edit meets too many others to be merged");
  }
  const others = against(earlier, later, false);
  const own = against(later, earlier, true);
  work.losses |= loss(earlier, others, false) | loss(later, own, true);
  passed.push(...others);
  return own;
}

/** Do two operations surely not meet, being in different members of the root? The usual case. */
function areApart(a: Operation, b: Operation): boolean {
  const token = a[1]?.[0];
  const at = b[1]?.[0];
  return typeof at === "string" && token !== undefined && token !== at && a[0] !== "mov" && b[0] !== "mov";
}

/** `operations` past the committed ones of each version after their base, oldest first. */
export function rebase(operations: Operations, window: Iterable<Operations>): Operation[] {
  let current = operations.slice();
  for (const committed of window) current = transform(committed, current).later;
  return current;
}
