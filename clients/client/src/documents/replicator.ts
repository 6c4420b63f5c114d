/**
 * One document against the server's protocol, without I/O and without time.
 *
 * It knows what is confirmed, what is in flight and what waits (the kernel's `Replica`), which history it
 * belongs to (`epoch`), and what each answer means. Sockets, polls and the stored record all go through it.
 */

import type { Json, Patch, PatchOperation, Strategies } from "../api.js";
import {
  apply,
  difference,
  GapError,
  type IsWanted,
  isSame,
  lower,
  type Merged,
  merge,
  type Operation,
  type Operations,
  type Outgoing,
  PatchError,
  Replica,
  type SavedReplica,
  settle,
} from "../kernel/index.js";
import type { Answer, Change, Missing } from "../wire.js";
import type { Step } from "./change.js";
import { fromMerge, fromRebase, fromWire, type Rebased, type Unresolved } from "./conflicts.js";
import { Flight, type SavedFlight } from "./flight.js";
import { memberOf, write } from "./pieces.js";
import { isTyping } from "./typing.js";

/** The oldest base that a server takes, in versions; behind it, states are merged. */
const REBASE_VERSIONS_MAX = 10_000;
/** No history is known: the server's state is merged with what there is. */
export const NO_EPOCH = -1;

/** A replicator as JSON. */
export interface SavedReplicator extends SavedFlight {
  replica: SavedReplica;
  /** Whose numbers it has. */
  clientId: string;
  epoch: number;
  /** Where others wrote since. */
  seen?: Seen;
}

/** What the author of what is in flight saw, and the edits as they stood on that. */
interface Seen {
  document: Json;
  edits: readonly Operations[];
}

/** Why an edit can't be committed. */
export interface Refusal {
  code: string;
  message: string;
  index?: number | null;
}

export interface ReplicatorEvents {
  /** The view changed. */
  onView(step: Step): void;
  /** `isUnsent`: of what waits to go again. */
  onConflicts(found: readonly Unresolved[], isUnsent?: boolean): void;
  /** This edit left the view. */
  onRefused(error: Refusal, patch: Patch): void;
}

type Before = Pick<Rebased, "base" | "mine">;

/** A patch of which each operation may have a value. */
type Valued = readonly (PatchOperation & { value?: unknown })[];

export class Replicator {
  replica: Replica | null = null;
  epoch = 0;
  readonly flight = new Flight();
  /** The change of others that is being taken in, or was last. */
  taken: Change | undefined;
  /** Of the change that is being taken in, if one is: nothing goes in flight then. */
  #author: string | null | undefined;
  #editsMax = Infinity; // in a patch: fewer while one to blame is looked for,
  #growth = 1; // and when it is found more and more again, for it may not be the only one
  /** Document and view before a state took the place of changes, for a merge if the base turns out too old. */
  #before: { document: Json; view: Json; after: Json } | null = null;
  #seen: Seen | null = null;
  /** What waits behind what is in flight, and what it stands on, before others' changes that meet it were taken in. */
  #behind: Before | null = null;
  // Member, or undefined for the whole -> others' last change there since that was seen.
  readonly #since = new Map<string | undefined, Change>();
  #clientId: () => string;

  constructor(
    clientId: () => string,
    readonly strategies: Strategies,
    readonly events: ReplicatorEvents,
  ) {
    this.#clientId = clientId;
  }

  // ------------------------------------------------------------------------------------------- replicas

  /** Under another name than the record's the server's state is merged: it knows what was sent under that name. */
  restore(saved: SavedReplicator): void {
    this.replace(saved.replica);
    this.#seen = saved.seen ?? this.#seen;
    this.epoch = saved.clientId === this.#clientId() ? saved.epoch : NO_EPOCH;
    this.flight.restore(saved);
  }

  save(): SavedReplicator | null {
    if (!this.replica) return null;
    const { epoch, flight } = this;
    const replica = this.replica.toJSON();
    const seen = replica.inFlight && this.#seen?.document !== replica.document && this.#seen;
    return { ...flight.save(), replica, clientId: this.#clientId(), epoch, ...(seen && { seen }) };
  }

  /** Nothing is known of the document: edits start from nothing, and from no history. */
  begin(): void {
    this.epoch = NO_EPOCH;
    this.#start(null, 0);
  }

  /** Go on with a replica that was changed as JSON. */
  replace(saved: SavedReplica): void {
    this.#follow(Replica.from(saved, { strategies: this.strategies }));
  }

  /** What is in flight waits again, as it stands on the present document; at most so many edits a patch. */
  requeue(editsMax = this.#editsMax): void {
    this.#tellUnseen();
    (this.replica as Replica).requeue();
    if (editsMax < this.#editsMax) this.#growth = 1;
    this.#editsMax = editsMax;
    this.flight.ground();
  }

  /** Another replica, whose numbers go on, takes over with this patch upon its document. */
  succeed(document: Json, version: number, patch: Patch): Replica {
    const old = this.replica as Replica;
    const next = new Replica(document, version, { ...old.toJSON(), strategies: this.strategies });
    write(next, patch);
    this.flight.ground();
    this.show(old.view, this.#follow(next).view);
    this.#tellRefused();
    return next;
  }

  #follow(replica: Replica): Replica {
    this.replica = replica;
    this.#before = this.#behind = null;
    this.see();
    replica.onView = (before, operations, after) => {
      this.events.onView({ before, operations, after, author: this.#author ?? null });
    };
    return replica;
  }

  #by<R>(author: string | null, work: () => R): R {
    const outer = this.#author;
    this.#author = author;
    try {
      return work();
    } finally {
      this.#author = outer;
    }
  }

  // ------------------------------------------------------------------------------------ the user's side

  /** An edit of the view; throws the kernel's PatchError. */
  edit(patch: Patch, joins?: boolean | null): void {
    this.#by(this.#clientId(), () => (this.replica as Replica).edit(patch, joins));
    this.flight.pending++;
  }

  /** What was edited, and counted, before it came to stand on this view. */
  bringIn(patch: Patch): void {
    this.#by(this.#clientId(), () => write(this.replica as Replica, patch));
    this.#tellRefused();
  }

  takeBack(way: "undo" | "redo", isWanted?: IsWanted): void {
    if (this.#by(this.#clientId(), () => this.replica?.takeBack(way, isWanted))) this.flight.pending++;
  }

  // ---------------------------------------------------------------------------------------- sending

  /** Is there something that `next` would give? */
  get isDue(): boolean {
    const { replica, flight } = this;
    return (
      !!replica &&
      !replica.isSettled &&
      this.#author === undefined &&
      !flight.isAsking &&
      !flight.isHeld &&
      !(replica.inFlight && flight.isSent)
    );
  }

  /** Was something sent that may be at the server, without an answer yet? */
  get isAwaiting(): boolean {
    const { replica, flight } = this;
    return !!replica?.inFlight && !flight.isFresh && !flight.isAsking;
  }

  /** The submission to send now: what waits goes in flight where nothing is. It stays due until it is sent. */
  next(): Outgoing | null {
    const submission = this.isDue ? this.#promote() : null;
    this.flight.isFresh &&= !submission;
    return submission;
  }

  /** What is in flight, or goes there now. */
  #promote(): Outgoing | null {
    const replica = this.replica as Replica;
    if (replica.inFlight) return replica.inFlight;
    this.#tellBehind();
    const submission = this.#by(null, () => replica.next(this.#editsMax));
    this.#tellRefused();
    this.flight.launch(!replica.toJSON().buffer.length);
    this.see();
    if (!submission) this.#settle();
    return submission;
  }

  /** A `test` of an edit that waited can fail on what others wrote meanwhile. */
  #tellRefused(): void {
    for (const { error, patch } of this.replica?.refused.splice(0) ?? []) this.events.onRefused(error, patch);
  }

  /** What is there now the author of what is in flight has seen. */
  see(): void {
    const { document, inFlight } = (this.replica as Replica).toJSON();
    this.#seen = inFlight && { document, edits: inFlight.edits };
    this.#since.clear();
  }

  /** What goes again stands on the present document: what the server can't compare it with any more is told here. */
  #tellUnseen(): void {
    const { document, version, buffer } = (this.replica as Replica).toJSON();
    const seen = this.#seen;
    if (!seen || this.flight.answeredUpTo >= version) return;
    const mine = written(seen.document, seen.edits);
    this.#compare({ base: seen.document, mine }, document, this.#beneath(), buffer);
  }

  /** Nor does it see what was carried past others' changes as it waited: how much of that is told. */
  #tellBehind(): number | null {
    const behind = this.#behind;
    this.#behind = null;
    return behind && this.#compare(behind, this.#beneath(), (this.replica as Replica).view);
  }

  #compare(before: Before, theirs: Json, made: Json, buffer: readonly Operations[] = []): number {
    const { view, version } = this.replica as Replica;
    const sides = { ...before, made, theirs, buffer, view };
    const found = fromRebase(sides, this.#since, version, this.strategies);
    if (found.length) this.events.onConflicts(found, true);
    return found.length;
  }

  /** What waits stands on this. */
  #beneath(): Json {
    const { document, inFlight } = (this.replica as Replica).toJSON();
    return written(document, inFlight?.edits ?? []);
  }

  /** The edits in flight have their answer. */
  #settle(): void {
    this.#before = null;
    const isAll = !!this.replica?.isSettled;
    this.flight.land(isAll);
    this.#editsMax = isAll ? Infinity : this.#editsMax * this.#growth;
  }

  /** The edits in flight leave the view; those after them come to go together again. */
  withdraw(): Patch {
    const patch = this.#by(null, () => (this.replica as Replica).withdraw());
    this.#growth = 2;
    this.#settle();
    return patch;
  }

  /** Is what waits for the user's word one operation, with nothing upon it? */
  isAskedAlone(): boolean {
    if (this.flight.isHeld) this.#promote();
    return this.replica?.inFlight?.patch.length === 1 && this.flight.isAll;
  }

  /** The user's word on what is asked: mine (what the server refused is forced), or not at all. */
  decide(isMine: boolean): void {
    const { flight } = this;
    // What is held waits behind what was sent, or is all that is in flight.
    const isUnsent = flight.isAsking || (flight.isHeld && flight.isAll);
    flight.isForced ||= flight.isAsking;
    flight.isAsking = flight.isHeld = false;
    if (isUnsent && !isMine) this.withdraw();
  }

  // ------------------------------------------------------------------------------------ the server's side

  /** What was missed. `GapError`: ask again without a version. */
  resume(missing: Missing): void {
    const { replica } = this;
    const { state, changes, version, epoch, seq_last: seqLast = 0 } = missing;
    const goesOn = replica && epoch === this.epoch;
    if (state === undefined && !(goesOn && changes)) throw new GapError(); // of what isn't known
    if (goesOn) {
      this.#tellBehind(); // of what came before changes that didn't fit
      // What was edited offline goes as one patch against the base that its author saw.
      if (!replica.isSettled) this.#promote();
      if (changes) for (const change of changes) this.#receive(change);
      else this.#reload(replica, missing);
      this.#tellBehind();
    } else if (replica?.document === (state as Json) && !replica.inFlight) {
      replica.reload(replica.document, version); // null: there is nothing still, what was made goes on edit by edit
    } else if (replica) this.#merge(replica, state as Json, version);
    else this.#start(state as Json, version);
    this.epoch = epoch;
    // A `seq` that the server knows is taken, whoever forgot it.
    if (!this.replica?.inFlight || this.#isUnsent(seqLast)) this.renumber(seqLast + 1);
  }

  #start(state: Json, version: number): void {
    this.#follow(new Replica(state, version, { strategies: this.strategies }));
    this.show(null, state);
  }

  /** What is in flight or is next takes another `seq`: its own belongs to another (a store was lost). */
  renumber(least = 0): void {
    this.replica?.renumber(least);
  }

  /** Is what never was sent in flight under a `seq` up to this one? */
  #isUnsent(seq: number): boolean {
    const flying = this.replica?.inFlight;
    return !!flying && this.flight.isFresh && flying.seq <= seq;
  }

  #receive(change: Change): void {
    const { seq } = change;
    if (seq !== undefined && change.client_id === this.#clientId()) {
      this.#promote();
      // The record was written before this was sent, and can have the same edit waiting.
      if (this.#isUnsent(seq) && !isInFlight(this.replica as Replica, change.operations))
        this.renumber(seq + 1);
      this.acknowledge(seq, change);
    } else this.#take(change);
  }

  receive(change: Change): void {
    this.#take(change);
    this.#tellBehind();
  }

  #take(change: Change): void {
    this.#carry(() => this.replica?.receive(change.version, change.operations), change);
  }

  /**
   * A change past what waits. What `theirs` meet of that, in its member or with another document, goes on the base that its
   * author saw, and the server tells what became of it. Where something else is in flight, or they deleted the document, it
   * is told here. Of a state nobody knows whose it is.
   */
  #carry(receive: () => void, change?: Change): void {
    const replica = this.replica as Replica;
    const { document, view } = replica;
    const { buffer } = replica.toJSON();
    const theirs: Valued = change?.operations ?? [];
    this.taken = change;
    const isMet = ([kind, path]: Operation) =>
      !change ||
      (!(kind === "txt" && isTyping(theirs)) &&
        theirs.some((one) => (one.path ? memberOf(one) === path?.[0] : one.value !== null)));
    if (buffer.flat().some(isMet)) {
      if (change) this.#promote();
      if (buffer.length) this.#behind ??= { base: this.#beneath(), mine: replica.view };
    }
    if (!change || !theirs.every(({ path }) => path)) this.#since.clear();
    if (change && replica.inFlight) for (const one of theirs) this.#since.set(memberOf(one), change);
    this.#by(change?.client_id ?? null, receive);
    if (replica.view !== null) return;
    const met = merge(document, view, null);
    this.#behind = null;
    if (!met.conflicts.length) return;
    this.flight.answeredUpTo = replica.version; // it is asked about here
    this.decide(false); // and no more there
    this.#tell(met, change);
  }

  /** The answer to the submission `seq`. One to a resend doesn't say what was committed: `GapError`, if it isn't known. */
  acknowledge(seq: number, answer: Answer): void {
    const { version, operations: patch, conflicts, duplicate } = answer;
    const replica = this.replica as Replica;
    if (duplicate && version > replica.version) throw new GapError();
    const submitted = replica.inFlight;
    const { document } = replica;
    this.#by(null, () => replica.acknowledged(seq, version, patch));
    if (submitted?.seq === seq)
      this.#done(
        submitted,
        document,
        conflicts ? lower(document, patch ?? submitted.patch, {}, null) : [],
        answer,
      );
  }

  /**
   * What was submitted became these operations on a document, if that is known; what they met has no answer yet, unless it
   * was asked about.
   */
  #done(
    submitted: Outgoing,
    document: Json,
    operations: Operations | null,
    { version, conflicts: reported = [] }: Omit<Answer, "operations">,
  ): void {
    const replica = this.replica as Replica;
    const { answeredUpTo } = this.flight;
    this.#settle();
    const about = { ...replica.toJSON(), ...submitted, reported, document, version: version - 1, operations };
    this.events.onConflicts(
      reported.flatMap((one) =>
        (one.version ?? 0) > answeredUpTo ? fromWire(one, version, about, replica.view) : [],
      ),
    );
  }

  /** The state stands for many changes of the same history. */
  #reload(replica: Replica, missing: Missing): void {
    const { state = null, version, acks = [], seq_last: seqLast = 0 } = missing;
    const flying = replica.inFlight;
    const ack = acks.find((one) => one.seq === flying?.seq);
    const isIncluded = flying && !this.flight.isFresh && (ack || flying.seq <= seqLast);
    if (isIncluded) {
      replica.included();
      this.#done(flying, replica.document, null, ack ?? missing);
    }
    const { document, view } = replica;
    const isFar = version - replica.version > REBASE_VERSIONS_MAX;
    if (isFar || !this.#isCarried(replica, state, version)) this.#merge(replica, state, version);
    else if (!isIncluded && !replica.isSettled)
      this.#before = { document, view, after: this.#tellBehind() ? null : replica.view };
  }

  /** False where too much is pending to be carried past what differs. */
  #isCarried(replica: Replica, state: Json, version: number): boolean {
    try {
      this.#carry(() => replica.reload(state, version));
      return true;
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
      return false;
    }
  }

  /** The base is too old: on the state that came since, by merging. False: a state has to come first. */
  rebase(): boolean {
    const replica = this.replica as Replica;
    const before = this.#before;
    if (!before) return false;
    this.#before = null; // another time a state has to come
    const isTold = this.flight.answeredUpTo >= replica.version; // with what waited
    if (before.after === replica.view && !isTold) this.#merge(before, replica.document, replica.version);
    else {
      this.#tellUnseen();
      replica.resubmit();
      this.#tellRefused();
      this.see(); // what waited may have joined it
      if (replica.isSettled) this.#settle();
    }
    return true;
  }

  /** Another history, or a base that is gone: the three states are all there is. */
  #merge({ document, view }: Pick<Replica, "document" | "view">, theirs: Json, version: number): void {
    const merged = merge(document, view, theirs, this.strategies);
    if (this.succeed(theirs, version, merged.patch).isSettled) this.#settle();
    this.#tell(merged);
  }

  #tell({ conflicts }: Merged, by?: Change): void {
    const { version } = this.replica as Replica;
    this.events.onConflicts(conflicts.map((one) => fromMerge(one, version, by)));
  }

  /** A view that came otherwise than by edits. */
  show(before: Json, after: Json): void {
    const operations = difference(before, after);
    if (operations.length)
      this.#by(null, () => this.events.onView({ before, operations, after, author: null }));
  }
}

/** A document with these edits, whatever they test. */
const written = (document: Json, edits: readonly Operations[]): Json =>
  apply(document, settle(document, edits.flat()));

/** Is it, as it was committed, what is in flight? */
function isInFlight(replica: Replica, patch: Patch): boolean {
  const { document, inFlight } = replica.toJSON();
  return isSame(lower(document, patch, {}, null), settle(document, inFlight?.edits.flat() ?? []));
}
