/**
 * Undo and redo of one author's changes among everybody's.
 *
 * Entries are the inverses of the author's changes; the top one stands on the present document, each next one
 * on the document that the one above it would leave.
 */

import { composed, isSame } from "./compose.js";
import { apply, type Operation, type Operations } from "./documents.js";
import { settle } from "./emit.js";
import { invert } from "./inverse.js";
import { isKeeping } from "./lower.js";
import { grows, type Strategies } from "./strategies.js";
import { EARLIER_MOVE_CUT, LATER_WRITE_LOST, transform } from "./transform.js";
import { type Json, PatchError } from "./values.js";

const ENTRIES_MAX = 1000;

export interface UndoEntry {
  readonly operations: Operations;
  /** The change that they take back. */
  readonly label: number;
}

export class UndoStacks {
  undo: readonly UndoEntry[] = [];
  redo: readonly UndoEntry[] = [];

  /** What would take something out of an array that only grows is left out of what undoes a change. */
  constructor(private readonly strategies: Strategies = {}) {}

  clear(): void {
    this.undo = this.redo = [];
  }

  /**
   * The author's own change; `undoes` is the label of the change that it takes back: the top of a stack. With
   * `joins` it is one with the last change, as the letters of a word are.
   */
  local(document: Json, operations: Operations, label: number, undoes?: number, joins = false): void {
    const pushed = (stack: readonly UndoEntry[]) => this.#pushed(stack, document, operations, label, joins);
    if (undoes === undefined) {
      this.redo = [];
      this.undo = pushed(this.undo);
    } else if (this.undo.at(-1)?.label === undoes) {
      this.undo = withoutTop(this.undo, document, operations);
      this.redo = pushed(this.redo);
    } else if (this.redo.at(-1)?.label === undoes) {
      this.redo = withoutTop(this.redo, document, operations);
      this.undo = pushed(this.undo);
    } else this.remote(document, operations);
  }

  /** Somebody else's change: carried past every entry, which may shrink or vanish. */
  remote(document: Json, operations: Operations): void {
    this.undo = carried(this.undo, document, operations);
    this.redo = carried(this.redo, document, operations);
  }

  #pushed(
    stack: readonly UndoEntry[],
    document: Json,
    operations: Operations,
    label: number,
    joins: boolean,
  ): readonly UndoEntry[] {
    const [inverse, staying] = this.#inverse(document, operations);
    const below = staying.length ? carried(stack, document, staying) : stack;
    if (!inverse.length) return below;
    const top = below.at(-1);
    if (joins && top?.label === label - 1) {
      const [next, ...rest] = top.operations; // those are composed as far as they can be
      const operations = [...composed(next ? [...inverse, next] : inverse), ...rest];
      const others = below.slice(0, -1);
      return operations.length ? [...others, { operations, label }] : others;
    }
    return [...below.slice(1 - ENTRIES_MAX), { operations: inverse, label }];
  }

  /** What takes back a change, as far as that may be; and what it leaves, upon the document before the change. */
  #inverse(document: Json, operations: Operations): [Operations, Operations] {
    const inverse = invert(document, operations);
    return Object.values(this.strategies).some(grows)
      ? withoutTaking(apply(document, operations), inverse, this.strategies)
      : [inverse, []];
  }
}

/**
 * Operations without those that take something out of an array that only grows; and what puts that into the
 * document which all of them would have left.
 */
function withoutTaking(
  document: Json,
  operations: Operations,
  strategies: Strategies,
): [Operations, Operations] {
  if (isKeeping(document, operations, strategies)) return [operations, []];
  const allowed: Operation[] = [];
  const staying: Operation[] = [];
  let view = document;
  let rest = operations;
  while (rest.length) {
    // Two, where an item is taken out and put in again.
    const parts = rest.slice(0, 2).map((_, at) => rest.slice(0, at + 1));
    const kept = parts.find((part) => isKeeping(view, part, strategies));
    if (kept) {
      allowed.push(...kept);
      view = apply(view, kept);
      rest = rest.slice(kept.length);
    } else {
      const { earlier, later } = transform(rest.slice(1), invert(view, rest.slice(0, 1)));
      rest = earlier;
      staying.push(...later);
    }
  }
  return [allowed, staying];
}

/** The stack below its top, now that `operations` were committed for that. */
function withoutTop(
  stack: readonly UndoEntry[],
  document: Json,
  operations: Operations,
): readonly UndoEntry[] {
  const below = stack.slice(0, -1);
  const top = stack.at(-1)?.operations ?? [];
  if (isSame(settle(document, top), operations)) return below;
  // Something else was committed (normalised, or past a late change): the entries below, which stand on what
  // this one would have left, are brought to what there is.
  return carried(below, apply(document, top), [...invert(document, top), ...operations]);
}

/**
 * A stack past a change of the document that its top stands on. An entry that would take away what the change
 * wrote is dropped whole; where the work cap is passed, the rest of the stack is.
 */
function carried(stack: readonly UndoEntry[], document: Json, operations: Operations): readonly UndoEntry[] {
  const kept: UndoEntry[] = [];
  let change = operations;
  let above: Operations[] = []; // entries passed since `base`, not yet applied to it
  let base = document;
  try {
    for (const entry of stack.slice().reverse()) {
      const { earlier, later, losses } = transform(entry.operations, change);
      if (takesAway(earlier, losses)) {
        base = above.reduce(apply, base);
        above = [];
        change = [...invert(base, entry.operations), ...change];
      } else {
        change = later;
        if (earlier.length) kept.push({ operations: earlier, label: entry.label });
      }
      above.push(entry.operations);
    }
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    // The entries that were reached are right, and below them nothing is known.
  }
  return kept.reverse();
}

/** Would the inverse, still removing or replacing something, undo a later write as well? */
const takesAway = (inverse: readonly Operation[], losses: number): boolean =>
  (losses & (EARLIER_MOVE_CUT | LATER_WRITE_LOST)) !== 0 &&
  inverse.some(([kind]) => kind === "rem" || kind === "set" || kind === "mov");
