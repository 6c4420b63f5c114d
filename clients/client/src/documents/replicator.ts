/**
 * One document against the server's protocol, without I/O and without time.
 *
 * It knows what is confirmed, what is in flight and what waits (the kernel's `Replica`), which history it
 * belongs to (`epoch`), and what each answer means. Sockets, polls and the stored record all go through it.
 */

import type { Conflict, Json, Patch, Strategies } from "../api.js";
import {
  difference,
  emit,
  GapError,
  merge,
  type Operations,
  type Outgoing,
  Replica,
  type SavedReplica,
} from "../kernel/index.js";
import type { Change, Missing, WireConflict } from "../wire.js";
import { fromMerge, fromWire } from "./conflicts.js";

/** The oldest base that a server takes, in versions; behind it, states are merged. */
const REBASE_VERSIONS_MAX = 10_000;

/** What to do about an error of the server. */
export type Verdict =
  | { next: "sent" | "asked" | "subscribe" | "reload" }
  | { next: "later"; afterMs: number }
  | { next: "refused"; operations: Patch };

export interface ServerError {
  code: string;
  message: string;
  index?: number;
  retry_after_ms?: number;
  conflicts?: WireConflict[];
}

/** A replicator as JSON. */
export interface SavedReplicator {
  replica: SavedReplica;
  epoch: number;
  edits: number;
  flying: number;
}

export interface ReplicatorEvents {
  /** The view changed; `operations` lead from `before` to `after`, `author` is a client id or null (several). */
  onView(before: Json, operations: Operations, after: Json, author: string | null): void;
  onConflicts(found: readonly Conflict[]): void;
}

const LATER_MS = 1_000;
/** No history is known: the server's state is merged with what there is. */
export const NO_EPOCH = -1;

export class Replicator {
  replica: Replica | null = null;
  epoch = 0;
  /** Edits made and not acknowledged, oldest first; the first `#flying` of them are in flight. */
  pending = 0;
  /** Edits whose fate is known, counted from the beginning of this object. */
  settled = 0;
  /** The submission in flight waits for the user's word on its conflicts. */
  isAsking = false;
  #flying = 0;
  #isForced = false;
  #isSent = false;
  /** Document and view before a state took the place of changes, for a merge if the base turns out too old. */
  #before: { document: Json; view: Json; after: Json } | null = null;

  constructor(
    private readonly clientId: () => string,
    private readonly strategies: Strategies,
    private readonly events: ReplicatorEvents,
  ) {}

  // ---------------------------------------------------------------------------------------- store

  restore(saved: SavedReplicator): void {
    this.#follow(Replica.from(saved.replica, this.#options()));
    this.epoch = saved.epoch;
    this.pending = saved.edits;
    this.#flying = saved.flying;
  }

  save(): SavedReplicator | null {
    if (!this.replica) return null;
    const { pending: edits, epoch } = this;
    return { replica: this.replica.toJSON(), epoch, edits, flying: this.#flying };
  }

  /** Nothing is known of the document: edits start from nothing, and from no history. */
  begin(): void {
    this.epoch = NO_EPOCH;
    this.#follow(new Replica(null, 0, this.#options()));
  }

  #options() {
    return { strategies: this.strategies };
  }

  #follow(replica: Replica): Replica {
    this.replica = replica;
    replica.onView = (before, operations, after) => {
      this.events.onView(before, operations, after, this.#author);
    };
    return replica;
  }

  #author: string | null = null; // of the change that is being taken in

  #by<R>(author: string | null, work: () => R): R {
    this.#author = author;
    try {
      return work();
    } finally {
      this.#author = null;
    }
  }

  /** From following another tab to its queue: the stored state, and what was edited here upon it. */
  takeOver(saved: SavedReplicator | null): void {
    const old = this.replica;
    this.epoch = NO_EPOCH;
    if (!saved) return;
    this.restore(saved);
    if (!old) return;
    const stored = this.replica as Replica;
    const { patch } = merge(old.document, old.view, stored.view, this.strategies);
    if (patch.length) this.edit(patch);
    this.#show(old.view, stored.view);
  }

  // ------------------------------------------------------------------------------------ the user's side

  /** An edit of the view; throws the kernel's PatchError. */
  edit(patch: Patch, joins = false): void {
    this.#by(this.clientId(), () => (this.replica as Replica).edit(patch, joins));
    this.pending++;
  }

  undo(): void {
    if (this.#by(this.clientId(), () => this.replica?.undo())) this.pending++;
  }

  redo(): void {
    if (this.#by(this.clientId(), () => this.replica?.redo())) this.pending++;
  }

  // ---------------------------------------------------------------------------------------- sending

  /** The connection is another one: what was sent there may not have arrived. */
  unsent(): void {
    this.#isSent = false;
  }

  /** Is there something that `next` would give? */
  get isDue(): boolean {
    const { replica } = this;
    return !!replica && !replica.isSettled && !this.isAsking && !(replica.inFlight && this.#isSent);
  }

  /** The submission to send now: what waits goes in flight where nothing is. It stays due until `sent`. */
  next(): (Outgoing & { isForced: boolean }) | null {
    if (!this.isDue) return null;
    const submission = (this.replica as Replica).inFlight ?? this.#promote();
    return submission && { ...submission, isForced: this.#isForced };
  }

  sent(): void {
    this.#isSent = true;
  }

  #promote(): Outgoing | null {
    const submission = this.replica?.next() ?? null;
    // Where the patch is bounded, some edits go on waiting; the last of them is counted as waiting, so that
    // nothing counts as saved too early.
    const isAll = !this.replica?.toJSON().buffer.length;
    this.#flying = isAll ? this.pending : Math.max(0, this.pending - 1);
    if (!submission) this.#settle();
    return submission;
  }

  /** The edits in flight have their answer. */
  #settle(): void {
    this.settled += this.#flying;
    this.pending -= this.#flying;
    this.#flying = 0;
    this.isAsking = this.#isForced = this.#isSent = false;
    this.#before = null;
    if (this.replica?.isSettled) {
      this.settled += this.pending;
      this.pending = 0;
    }
  }

  // ------------------------------------------------------------------------------------ the server's side

  /** What was missed. `GapError`: ask again without a version (`reload`). */
  resume(missing: Missing): void {
    const { replica } = this;
    if (!replica) {
      this.#follow(new Replica(null, 0, this.#options()));
      this.#replace(missing.state ?? null, missing);
      for (const change of missing.changes ?? []) this.#receive(change);
    } else if (missing.changes && missing.epoch === this.epoch) {
      this.#isOffline(replica);
      for (const change of missing.changes) this.#receive(change);
    } else if (missing.epoch !== this.epoch || missing.version - replica.version > REBASE_VERSIONS_MAX) {
      this.#merge(missing.state ?? null, missing);
    } else this.#reload(replica, missing);
    this.epoch = missing.epoch;
    this.#skip(missing.seq_last ?? 0);
  }

  /** What was edited offline goes as one patch against the base that its author saw. */
  #isOffline(replica: Replica): void {
    if (!replica.inFlight && !replica.isSettled) this.#promote();
  }

  /** A `seq` that the server knows is taken, whoever forgot it. */
  #skip(seqLast: number): void {
    const saved = this.replica?.toJSON();
    if (!saved || saved.inFlight || saved.seqNext > seqLast) return;
    this.#follow(Replica.from({ ...saved, seqNext: seqLast + 1 }, this.#options()));
  }

  #receive(change: Change): void {
    const isOwn = change.client_id === this.clientId() && change.seq !== undefined;
    if (isOwn) this.acknowledge(change.seq as number, change.version, change.operations, change.conflicts);
    else this.receive(change.version, change.operations, change.client_id);
  }

  receive(version: number, patch: Patch, author: string): void {
    this.#by(author, () => (this.replica as Replica).receive(version, patch));
  }

  /** The answer to the submission `seq`. */
  acknowledge(seq: number, version: number, patch?: Patch, conflicts: WireConflict[] = []): void {
    const replica = this.replica as Replica;
    const submitted = replica.inFlight;
    const isFlying = submitted?.seq === seq;
    this.#by(null, () => replica.acknowledged(seq, version, patch));
    if (!isFlying) return;
    this.#settle();
    const found = conflicts.map((one) => fromWire(one, version, submitted.patch, replica.view));
    if (found.length) this.events.onConflicts(found);
  }

  /** The state stands for many changes of the same history. */
  #reload(replica: Replica, { state = null, version, acks = [], seq_last: seqLast = 0 }: Missing): void {
    this.#isOffline(replica);
    const seq = replica.inFlight?.seq ?? Number.POSITIVE_INFINITY;
    const isIncluded = seq <= seqLast || acks.some((ack) => ack.seq === seq);
    const { document, view } = replica;
    this.#by(null, () => replica.reload(state, version, isIncluded));
    if (isIncluded) this.#settle();
    else if (!replica.isSettled) this.#before = { document, view, after: replica.view };
  }

  /** Another history, or a base that is gone: the three states are all there is. */
  #merge(state: Json, { version, epoch }: Missing): void {
    const replica = this.replica as Replica;
    this.#mergeStates(replica.document, replica.view, state, version);
    this.epoch = epoch;
  }

  #mergeStates(base: Json, mine: Json, theirs: Json, version: number): void {
    const old = this.replica as Replica;
    const { patch, conflicts } = merge(base, mine, theirs, this.strategies);
    const next = new Replica(theirs, version, { ...this.#options(), seqNext: old.toJSON().seqNext });
    if (patch.length) next.edit(patch);
    this.#flying = 0;
    this.isAsking = this.#isForced = this.#isSent = false;
    this.#before = null;
    this.#show(old.view, this.#follow(next).view);
    if (next.isSettled) this.#settle();
    if (conflicts.length) this.events.onConflicts(conflicts.map((one) => fromMerge(one, version)));
  }

  #replace(state: Json, { version }: Missing): void {
    const old = this.replica as Replica;
    const next = this.#follow(new Replica(state, version, this.#options()));
    this.#show(old.view, next.view);
  }

  #show(before: Json, after: Json): void {
    const operations = difference(before, after);
    if (operations.length) this.events.onView(before, operations, after, null);
  }

  /** What to do after an ERROR that answers the submission in flight. */
  refuse(error: ServerError): Verdict {
    this.#isSent = false;
    switch (error.code) {
      case "RATE_LIMITED":
      case "UNAVAILABLE":
        return { next: "later", afterMs: error.retry_after_ms ?? LATER_MS };
      case "VERSION_AHEAD":
      case "NOT_SUBSCRIBED":
        return { next: "subscribe" };
      case "VERSION_TOO_OLD":
        return this.#rebase();
      case "SEQ_REUSED":
        return this.#renumber();
      case "SEQ_TOO_OLD":
        return { next: "reload" };
      case "CONFLICT":
        if (error.conflicts?.length) return this.#ask(error.conflicts);
        return this.#withdraw(null);
      default:
        return this.#withdraw(error.index ?? null);
    }
  }

  /** The base is too old: on the state that came since, by merging; without one, it has to come first. */
  #rebase(): Verdict {
    const replica = this.replica as Replica;
    if (!this.#before) return { next: "reload" };
    if (this.#before.after === replica.view) {
      this.#mergeStates(this.#before.document, this.#before.view, replica.document, replica.version);
    } else replica.resubmit();
    return { next: "sent" };
  }

  /** The `seq` belongs to another submission (a store was lost): this one takes the next. */
  #renumber(): Verdict {
    const saved = (this.replica as Replica).toJSON();
    if (saved.inFlight) {
      const seq = saved.seqNext;
      const inFlight = { ...saved.inFlight, submission: { ...saved.inFlight.submission, seq } };
      this.#follow(Replica.from({ ...saved, inFlight, seqNext: seq + 1 }, this.#options()));
    }
    return { next: "sent" };
  }

  #ask(found: WireConflict[]): Verdict {
    const { inFlight, view, version } = this.replica as Replica;
    this.isAsking = true;
    const all = found.map((one) => fromWire(one, version, inFlight?.patch ?? [], view));
    this.events.onConflicts(all.map((one) => ({ ...one, kind: "refused" })));
    return { next: "asked" };
  }

  /** The user's word on what is asked: mine (the same edit, forced), or not at all. */
  decide(isMine: boolean): void {
    if (!this.isAsking) return;
    this.isAsking = false;
    this.#isForced = isMine;
    if (isMine) return;
    this.#by(null, () => this.replica?.withdraw());
    this.#settle();
  }

  /** A refused patch leaves the view; where one operation of several is to blame, the others are made again. */
  #withdraw(index: number | null): Verdict {
    const replica = this.replica as Replica;
    const patch = replica.inFlight?.patch ?? [];
    this.#by(null, () => replica.withdraw());
    this.#settle();
    if (index === null || patch.length < 2) return { next: "refused", operations: patch };
    const refused = patch.filter((operation, at) => at === index || !this.#again(operation));
    return { next: "refused", operations: refused };
  }

  #again(operation: Patch[number]): boolean {
    try {
      this.edit([operation]);
      return true;
    } catch {
      return false;
    }
  }

  /** The patch from the view to a whole value. */
  patchTo(value: Json): Patch {
    const { view } = this.replica as Replica;
    return emit(view, difference(view, value)) as Patch;
  }
}

export { GapError };
