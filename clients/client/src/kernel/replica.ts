/**
 * A client's replica of one document: what it has confirmed, in flight and buffered, without any I/O.
 *
 *     document --in flight--> ... --buffer--> view
 *
 * `document` is the server's state at `version`; `view` is what the user sees. One submission is in flight,
 * later edits wait and go together. Whatever the server says is carried past both.
 */

import { composed, isSame } from "./compose.js";
import { difference } from "./difference.js";
import { apply, type Operations } from "./documents.js";
import { emit, type Patch, settle } from "./emit.js";
import { invert } from "./inverse.js";
import { DEFAULT_LIMITS, lower } from "./lower.js";
import type { Strategies } from "./strategies.js";
import { transform } from "./transform.js";
import { UndoStacks } from "./undo.js";
import { type Json, PatchError } from "./values.js";

/** What an OP carries: `seq`, the version that the author saw, the patch. A resend is the same again. */
export interface Outgoing {
  readonly seq: number;
  readonly baseVersion: number;
  readonly patch: Patch;
}

interface InFlight {
  readonly submission: Outgoing;
  /** The edits in it, on the replica's `document`, so carried past what came since. */
  readonly edits: readonly Operations[];
  /** Another patch went out under its seq before. */
  readonly resubmitted?: boolean;
}

/** A replica as JSON, for a durable store. */
export interface SavedReplica {
  readonly document: Json;
  readonly version: number;
  readonly seqNext: number;
  readonly inFlight: InFlight | null;
  readonly buffer: readonly Operations[];
}

export interface ReplicaOptions {
  /** The server's, where the client knows them; without them the server's answers correct the replica. */
  strategies?: Strategies;
  seqNext?: number;
}

/** Of the view as it would be. */
export type IsWanted = (after: Json) => boolean;

/** The label of none: what takes it back isn't the user's own here. */
const NO_EDIT = 0;

/** Versions are missing between what the replica has and what it was told: resume from its `version`. */
export class GapError extends Error {}

export class Replica {
  view: Json;
  /** Told what each change does to the view, before the method that makes it returns. */
  onView: ((before: Json, operations: Operations, after: Json) => void) | null = null;
  readonly undoStacks: UndoStacks;
  /** Edits that were withdrawn because a `test` in them came to fail, for the caller to take out. */
  readonly refused: { error: PatchError; patch: Patch }[] = [];
  #strategies: Strategies;
  #seqNext: number;
  #edits = 0; // labels of the undo stacks
  #inFlight: InFlight | null = null;
  #buffer: Operations[] = [];

  constructor(
    public document: Json,
    public version: number,
    { strategies = {}, seqNext = 1 }: ReplicaOptions = {},
  ) {
    this.view = document;
    this.undoStacks = new UndoStacks(strategies);
    this.#strategies = strategies;
    this.#seqNext = seqNext;
  }

  /** The replica that `toJSON` saved; its undo stacks are empty. */
  static from(saved: SavedReplica, options: ReplicaOptions = {}): Replica {
    const replica = new Replica(saved.document, saved.version, { ...options, seqNext: saved.seqNext });
    replica.#inFlight = saved.inFlight;
    replica.#buffer = saved.buffer.slice();
    const pending = [...(saved.inFlight?.edits ?? []), ...saved.buffer];
    replica.view = pending.map(withoutTests).reduce(apply, saved.document);
    return replica;
  }

  toJSON(): SavedReplica {
    const { document, version } = this;
    return { document, version, seqNext: this.#seqNext, inFlight: this.#inFlight, buffer: this.#buffer };
  }

  /** Is there nothing in flight and nothing buffered? */
  get isSettled(): boolean {
    return !this.#inFlight && !this.#buffer.length;
  }

  /** What was sent and not answered yet. */
  get inFlight(): Outgoing | null {
    return this.#inFlight?.submission ?? null;
  }

  // The user's side

  /**
   * An edit of the view. Throws PatchError, and changes nothing, when the view doesn't take it. With `joins`
   * it is undone together with the edit before; null: it isn't undone here.
   */
  edit(patch: Patch, joins?: boolean | null): void {
    let operations = lower(this.view, patch, this.#strategies);
    // Too many to be sent: the server makes them of what was written.
    if (operations.length > DEFAULT_LIMITS.patchOperationsMax) operations = lower(this.view, patch);
    this.#add(operations, joins === null ? NO_EDIT : undefined, !!joins);
  }

  /** Take back the user's last edit, as far as others left it; false without one, or where the view wouldn't be wanted. */
  takeBack(way: "undo" | "redo", isWanted?: IsWanted): boolean {
    const entry = this.undoStacks[way].at(-1);
    if (!entry || isWanted?.(apply(this.view, entry.operations)) === false) return false;
    this.#add(entry.operations, entry.label);
    return true;
  }

  #add(operations: Operations, undoes?: number, joins = false): void {
    const before = this.view;
    const view = apply(before, operations);
    // An edit waits in the form in which it will be sent: that is what both ends transform.
    this.undoStacks.local(before, settle(before, operations), ++this.#edits, undoes, joins);
    this.view = view;
    const last = this.#buffer.at(-1);
    const joint = last?.length === 1 && operations.length === 1 ? composed([...last, ...operations]) : [];
    if (joint.length === 1) this.#buffer[this.#buffer.length - 1] = joint;
    else this.#buffer.push(operations);
    this.onView?.(before, operations, view);
  }

  /**
   * Put what waits in flight, as one patch, when the wire is free: what is to be sent now, if anything. An edit
   * goes whole.
   */
  next(editsMax = Infinity): Outgoing | null {
    if (this.#inFlight) return null;
    let { document } = this;
    let count = 0;
    const edits: Operations[] = [];
    while (this.#buffer.length && edits.length < editsMax) {
      const edit = this.#buffer[0] as Operations;
      if (count && count + edit.length > DEFAULT_LIMITS.patchOperationsMax) break;
      this.#buffer.shift();
      try {
        const after = apply(document, edit);
        if (edit.length) edits.push(settle(document, edit, true));
        count += edit.length;
        document = after;
      } catch (error) {
        this.#drop(document, edit, error);
      }
    }
    const submission = this.#launch(this.#seqNext, edits);
    if (submission) this.#seqNext++;
    else if (this.#buffer.length) return this.next(editsMax);
    return submission;
  }

  #launch(seq: number, edits: Operations[], resubmitted = false): Outgoing | null {
    const patch = emit(this.document, edits.flat(), true);
    if (!patch.length) return null;
    const submission = { seq, baseVersion: this.version, patch };
    this.#inFlight = { submission, edits, resubmitted };
    return submission;
  }

  /** The submission in flight was refused, for now: its edits wait again. */
  requeue(): void {
    this.#buffer.unshift(...(this.#inFlight?.edits ?? []));
    this.#inFlight = null;
  }

  /** What is in flight, or is next, takes a `seq` not below this one: its own belongs to another. */
  renumber(least: number): void {
    const flying = this.#inFlight;
    const seq = Math.max(least, this.#seqNext);
    this.#seqNext = flying ? seq + 1 : seq;
    this.#inFlight = flying && { ...flying, submission: { ...flying.submission, seq } };
  }

  /** A buffered edit can't be sent any more, for a test in it fails on what others wrote. */
  #drop(document: Json, edit: Operations, error: unknown): void {
    if (!(error instanceof PatchError)) throw error;
    this.refused.push({ error, patch: emit(document, edit, true) });
    this.undoStacks.clear();
    this.#carry(invert(document, edit))();
  }

  // The server's side

  /**
   * Another client's change. Known versions are ignored; GapError when versions are missing. Throws
   * PatchError, and changes nothing, where so much is pending that the work cap is passed, or where the patch
   * doesn't fit: make a new replica of the server's state.
   */
  receive(version: number, patch: Patch): void {
    if (version <= this.version) return;
    this.#expect(version);
    const operations = lower(this.document, patch, {}, null);
    this.#receive(apply(this.document, operations), version, operations);
  }

  /**
   * The answer to the submission in flight; `patch` where the server committed another than was sent.
   *
   * A version that the replica has already means that the state it was given held the submission. An answer to
   * something else (a second copy that was accepted after the first one was refused) is a change like
   * another's; without its `patch` it can't be followed, nor can one after `resubmit`, for either patch may
   * have got through: GapError.
   */
  acknowledged(seq: number, version: number, patch?: Patch): void {
    const flying = this.#inFlight;
    if (flying?.submission.seq !== seq) {
      if (patch) this.receive(version, patch);
      else if (version > this.version) throw new GapError(); // of what was given up
      return;
    }
    if (version <= this.version) {
      this.withdraw();
      return;
    }
    this.#expect(version);
    if (!patch && flying.resubmitted) throw new GapError(); // of which of them?
    const before = this.document;
    const predicted = settle(before, flying.edits.flat());
    const committed = settle(before, lower(before, patch ?? flying.submission.patch, {}, null));
    const document = apply(before, committed);
    let tell: (() => void) | undefined;
    if (!isSame(committed, predicted)) {
      this.undoStacks.clear();
      tell = this.#carry([...invert(before, predicted), ...committed]);
    }
    this.#inFlight = null;
    this.document = this.#buffer.length ? document : this.view; // equal, and what the user looks at stays
    this.version = version;
    tell?.();
  }

  /**
   * The submission in flight was refused: it leaves the view, and later edits are carried past that. Returned is
   * what went: with what was made upon it, where that leaves nothing at all.
   */
  withdraw(): Patch {
    const flying = this.#inFlight;
    if (!flying) return [];
    const operations = flying.edits.flat();
    const upon = this.#buffer.flat();
    this.undoStacks.clear();
    this.#inFlight = null;
    const tell = this.#carry(invert(this.document, operations));
    const isAll = !this.#buffer.some((edit) => edit.length);
    tell();
    const { patch } = flying.submission;
    return isAll ? [...patch, ...emit(apply(this.document, withoutTests(operations)), upon, true)] : patch;
  }

  /** The state that comes next holds the submission in flight (its `acks` name it): that is done. */
  included(): void {
    const edits = this.#inFlight?.edits.flat() ?? [];
    this.document = apply(this.document, settle(this.document, edits));
    this.#inFlight = null;
  }

  /** A whole state took the place of changes: what differs is merged as one remote change. */
  reload(document: Json, version: number): void {
    this.#receive(document, version, difference(this.document, document));
  }

  /**
   * After VERSION_TOO_OLD, which consumed no seq: the submission in flight on the present version. Where a test
   * in it fails there, its edits are looked at one by one.
   */
  resubmit(): Outgoing | null {
    const flying = this.#inFlight;
    if (!flying) return this.next();
    const { seq } = flying.submission;
    const edits: Operations[] = [];
    try {
      let { document } = this;
      for (const edit of flying.edits) {
        edits.push(settle(document, edit, true));
        document = apply(document, edit);
      }
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
      this.requeue();
      return this.next();
    }
    const submission = this.#launch(seq, edits, true);
    if (submission) return submission;
    this.withdraw(); // others left nothing of it
    return this.next();
  }

  #expect(version: number): void {
    if (version !== this.version + 1) throw new GapError();
  }

  /** A change of `document`, past the submission in flight and what waits. */
  #receive(document: Json, version: number, operations: Operations): void {
    const flying = this.#inFlight;
    const { change, edits } = past(operations, flying?.edits ?? []);
    const tell = this.#carry(change, this.isSettled ? document : undefined);
    this.#inFlight = flying && { ...flying, edits };
    this.document = document;
    this.version = version;
    tell();
  }

  /**
   * A change that stands on document + in flight: past the buffer, to the view. What is returned tells of it,
   * when all fits together again: whoever hears of it may edit.
   */
  #carry(operations: Operations, after?: Json): () => void {
    const { change, edits } = past(operations, this.#buffer);
    const view = after ?? apply(this.view, change);
    const before = this.view;
    this.undoStacks.remote(before, change);
    this.#buffer = edits;
    this.view = view;
    return () => {
      if (change.length) this.onView?.(before, change, view);
    };
  }
}

/** A change past edits that stand on the same document, and they past it. */
function past(operations: Operations, waiting: readonly Operations[]) {
  let change = operations;
  const edits = waiting.map((edit) => {
    const { earlier, later } = transform(change, edit);
    change = earlier;
    return later;
  });
  return { change, edits };
}

/** What operations do: a test that has come to fail is found when they are to be sent. */
const withoutTests = (operations: Operations): Operations => operations.filter(([kind]) => kind !== "tst");
