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
import { DEFAULT_LIMITS, type Limits, lower } from "./lower.js";
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
  /** On the replica's `document`, so carried past what came since. */
  readonly operations: Operations;
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
  limits?: Limits;
  seqNext?: number;
}

/** Versions are missing between what the replica has and what it was told: resume from its `version`. */
export class GapError extends Error {
  override name = "GapError";
}

export class Replica {
  view: Json;
  /** Told what each change does to the view, before the method that makes it returns. */
  onView: ((before: Json, operations: Operations, after: Json) => void) | null = null;
  readonly undoStacks = new UndoStacks();
  /** Edits that were withdrawn because a `test` in them came to fail, for the caller to take out. */
  readonly refused: { error: PatchError; patch: Patch }[] = [];
  #strategies: Strategies;
  #limits: Limits;
  #seqNext: number;
  #edits = 0; // labels of the undo stacks
  #inFlight: InFlight | null = null;
  #buffer: Operations[] = [];

  constructor(
    public document: Json,
    public version: number,
    { strategies = {}, limits = DEFAULT_LIMITS, seqNext = 1 }: ReplicaOptions = {},
  ) {
    this.view = document;
    this.#strategies = strategies;
    this.#limits = limits;
    this.#seqNext = seqNext;
  }

  /** The replica that `toJSON` saved; its undo stacks are empty. */
  static from(saved: SavedReplica, options: ReplicaOptions = {}): Replica {
    const replica = new Replica(saved.document, saved.version, { ...options, seqNext: saved.seqNext });
    replica.#inFlight = saved.inFlight;
    replica.#buffer = saved.buffer.slice();
    const pending = saved.inFlight ? [saved.inFlight.operations, ...saved.buffer] : saved.buffer;
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
   * it is undone together with the edit before.
   */
  edit(patch: Patch, joins = false): void {
    this.#add(lower(this.view, patch, this.#strategies, this.#limits), undefined, joins);
  }

  /** Take back the user's last edit, as far as others left it; false without one. */
  undo(): boolean {
    return this.#takeBack(this.undoStacks.undo.at(-1));
  }

  redo(): boolean {
    return this.#takeBack(this.undoStacks.redo.at(-1));
  }

  #takeBack(entry: { operations: Operations; label: number } | undefined): boolean {
    if (entry) this.#add(entry.operations, entry.label);
    return !!entry;
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

  /** Put what waits in flight, as one patch, when the wire is free: what is to be sent now, if anything. */
  next(): Outgoing | null {
    if (this.#inFlight) return null;
    let { document } = this;
    const operations: Operations[number][] = [];
    while (this.#buffer.length) {
      const edit = this.#buffer[0] as Operations;
      if (operations.length && operations.length + edit.length > this.#limits.patchOperationsMax) break;
      this.#buffer.shift();
      try {
        document = apply(document, edit);
        operations.push(...edit);
      } catch (error) {
        this.#drop(document, edit, error);
      }
    }
    const patch = emit(this.document, operations, true);
    if (!patch.length) return null;
    const submission = { seq: this.#seqNext++, baseVersion: this.version, patch };
    this.#inFlight = { submission, operations: settle(this.document, operations, true) };
    return submission;
  }

  /** A buffered edit can't be sent any more, for a test in it fails on what others wrote. */
  #drop(document: Json, edit: Operations, error: unknown): void {
    if (!(error instanceof PatchError)) throw error;
    this.refused.push({ error, patch: emit(document, edit, true) });
    this.undoStacks.clear();
    this.#carry(
      invert(
        document,
        edit.filter(([kind]) => kind !== "tst"),
      ),
    );
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
      else if (version > this.version) throw new GapError(`version ${version} answers what was given up`);
      return;
    }
    if (version <= this.version) {
      this.withdraw();
      return;
    }
    this.#expect(version);
    if (!patch && flying.resubmitted) throw new GapError(`version ${version} answers one of several patches`);
    const predicted = settle(this.document, flying.operations);
    const committed = lower(this.document, patch ?? flying.submission.patch, {}, null);
    const before = this.document;
    const document = apply(before, committed);
    this.#inFlight = null;
    if (isSame(committed, predicted)) {
      this.document = this.#buffer.length ? document : this.view; // equal, and what the user looks at stays
    } else {
      this.document = document;
      this.undoStacks.clear();
      this.#carry([...invert(before, predicted), ...committed]);
    }
    this.version = version;
  }

  /** The submission in flight was refused: it leaves the view, and later edits are carried past that. */
  withdraw(): void {
    const flying = this.#inFlight;
    if (!flying) return;
    const detour = invert(this.document, flying.operations);
    this.#inFlight = null;
    this.undoStacks.clear();
    this.#carry(detour);
  }

  /**
   * A whole state took the place of changes: what differs is merged as one remote change. With
   * `includesInFlight` (the state's `acks` name it) the submission is done; else `resend` it.
   */
  reload(document: Json, version: number, includesInFlight = false): void {
    if (includesInFlight && this.#inFlight) {
      this.document = apply(this.document, settle(this.document, this.#inFlight.operations));
      this.#inFlight = null;
    }
    this.#receive(document, version, difference(this.document, document));
  }

  /** After a reconnect: the submission in flight as it was sent, else what waits. */
  resend(): Outgoing | null {
    return this.inFlight ?? this.next();
  }

  /** After VERSION_TOO_OLD, which consumed no seq: the submission in flight on the present version. */
  resubmit(): Outgoing | null {
    if (!this.#inFlight) return this.next();
    const { seq, patch: submitted } = this.#inFlight.submission;
    const operations = settle(this.document, this.#inFlight.operations, true);
    try {
      apply(this.document, operations);
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
      this.refused.push({ error, patch: submitted });
      this.withdraw();
      return this.next();
    }
    const patch = emit(this.document, operations, true);
    if (!patch.length) {
      this.withdraw(); // others left nothing of it
      return this.next();
    }
    const submission = { seq, baseVersion: this.version, patch };
    this.#inFlight = { submission, operations, resubmitted: true };
    return submission;
  }

  #expect(version: number): void {
    if (version !== this.version + 1) {
      throw new GapError(`version ${version} after ${this.version}: changes are missing`);
    }
  }

  /** A change of `document`, past the submission in flight and what waits. */
  #receive(document: Json, version: number, operations: Operations): void {
    let flying = this.#inFlight;
    let change = operations;
    if (flying) {
      const { earlier, later } = transform(change, flying.operations);
      change = earlier;
      flying = { ...flying, operations: later };
    }
    this.#carry(change, this.isSettled ? document : undefined);
    this.#inFlight = flying;
    this.document = document;
    this.version = version;
  }

  /** A change that stands on document + in flight: past the buffer, to the view. */
  #carry(operations: Operations, after?: Json): void {
    let change = operations;
    const buffer = this.#buffer.map((edit) => {
      const { earlier, later } = transform(change, edit);
      change = earlier;
      return later;
    });
    const view = after ?? apply(this.view, change);
    const before = this.view;
    this.undoStacks.remote(before, change);
    this.#buffer = buffer;
    this.view = view;
    if (change.length) this.onView?.(before, change, view);
  }
}

/** What operations do: a test that has come to fail is found when they are to be sent. */
const withoutTests = (operations: Operations): Operations => operations.filter(([kind]) => kind !== "tst");
