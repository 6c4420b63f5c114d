/** What is known of one document, as its snapshot tells it and its record keeps it. */

import type {
  DocumentOptions,
  DocumentSnapshot,
  DocumentStatus,
  Json,
  Patch,
  ProblemCode,
  Resolution,
  Role,
  ViewChange,
} from "../api.js";
import { Cell, Listeners } from "../cell.js";
import { EditError, RequestError } from "../errors.js";
import { equal } from "../kernel/index.js";
import { Room, type RoomDocument } from "../presence/room.js";
import { keyOf, type Payload } from "../wire.js";
import { type Step, viewChange } from "./change.js";
import { Confirmed } from "./confirmed.js";
import { carriedConflict, type Resolved, refused, type Unresolved, valueAt } from "./conflicts.js";
import type { DocumentContext } from "./context.js";
import { memberOf } from "./pieces.js";
import { type Refusal, Replicator, type ReplicatorEvents, type SavedReplicator } from "./replicator.js";
import { Waiters } from "./waiters.js";

const SAVE_AFTER_MS = 1_000;
/** More than any count of edits: what is reached when nothing is pending. */
export const EVERYTHING = Infinity;

/** `settledAt` counts from the record's first edit. */
type Saved = SavedReplicator & {
  conflicts: readonly Unresolved[];
  resolved?: readonly Resolved[];
  role: Role | null;
  /** What the edits that wait in it were made with. */
  onConflict?: "merge" | "ask";
};

/** The tab that has the queue, as one that follows it sees it. */
export interface Leading {
  /** What a tab that follows shows, which has only what it didn't hand over. */
  upon(own: DocumentSnapshot<Json>): DocumentSnapshot<Json>;
  resolve(conflicts: readonly string[], resolution: Resolution): void;
}

export class DocumentState implements ReplicatorEvents, RoomDocument {
  readonly key: string;
  readonly options: DocumentOptions = {};
  readonly cell: Cell<DocumentSnapshot<Json>>;
  readonly replicator: Replicator;
  readonly presence: Room;
  readonly changes = new Listeners<[ViewChange]>();
  readonly steps = new Listeners<[Step]>();
  /** Where another tab has the queue. */
  leading: Leading | null = null;
  /** Something to send, as the store was told; null: it has to be. */
  isQueued: boolean | null = null;
  readonly saved = new Waiters();
  /** In a tab that follows: those of what it could not hand over. */
  conflicts: readonly Unresolved[] = [];
  resolved: readonly Resolved[] = [];
  /** Why it is forbidden. */
  denial: RequestError | null = null;
  /** What the record's edits were made with, as long as some wait. */
  #asked: DocumentOptions["onConflict"];
  status: DocumentStatus = "loading";
  role: Role | null = null;
  isLive = false;
  #isEditing = false;
  /** The view as the store has it; undefined where that isn't known. */
  stored: Json | undefined;
  /** The store may have a record: nothing is written over it before it was read. */
  isUnread = false;
  #edits = 0;
  #storedEdits = 0;
  #confirmed = new Confirmed();
  #saveTimer: unknown = null;
  /** Kept when the record was looked for: nothing is written over it before. */
  restored = Promise.resolve();

  constructor(
    readonly type: string,
    readonly id: string,
    readonly context: DocumentContext,
  ) {
    this.key = keyOf(type, id);
    this.replicator = new Replicator(context.clientId, context.strategies(type), this);
    this.presence = new Room(this);
    this.cell = new Cell(this.#snapshot());
  }

  get view(): Json {
    return this.replicator.replica?.view ?? null;
  }

  /** What the server has, as far as it was told. */
  get confirmed(): { version: number; document: Json } {
    return this.replicator.replica ?? { version: 0, document: null };
  }

  since(version: number): Step[] {
    return this.#confirmed.since(version);
  }

  #snapshot(): DocumentSnapshot<Json> {
    const { replica, flight } = this.replicator;
    const own: DocumentSnapshot<Json> = {
      status: this.status,
      view: this.view,
      version: this.confirmed.version,
      role: this.role,
      canEdit: this.status === "ready" && this.role !== "viewer",
      isDeleted: this.status === "ready" && this.view === null,
      pending: flight.pending,
      isStored: this.isStored,
      isLive: this.isLive,
      canUndo: !!replica?.undoStacks.undo.length,
      canRedo: !!replica?.undoStacks.redo.length,
      conflicts: this.conflicts,
    };
    return this.leading?.upon(own) ?? own;
  }

  /** What edits that wait are sent with. */
  get onConflict(): DocumentOptions["onConflict"] {
    return this.options.onConflict ?? this.#asked;
  }

  /** May what was sent still be answered? */
  get isAwaiting(): boolean {
    return !this.denial && this.replicator.isAwaiting;
  }

  /** What the store has; null where that can't be read now, or somebody `isBusy`. */
  async load(isBusy?: () => boolean): Promise<Saved | undefined | null> {
    const saved = await this.context.keeper.load(`doc/${this.key}`, isBusy);
    this.isUnread = saved === null;
    return saved as unknown as Saved | undefined | null;
  }

  refresh(): void {
    const before = this.cell.snapshot;
    const { flight } = this.replicator;
    if (!flight.pending) this.#asked = undefined;
    // What is asked about no more is refused again when it is sent again.
    if (!flight.isAsking && !flight.isHeld)
      this.conflicts = this.conflicts.filter(({ kind }) => kind !== "refused");
    const { conflicts, ...rest } = this.#snapshot();
    const isSame = equal(conflicts as unknown as Json, before.conflicts as unknown as Json);
    this.cell.update(isSame ? rest : { conflicts, ...rest });
    const { pending, isStored } = this.cell.snapshot;
    const reached = pending ? flight.settled : EVERYTHING;
    this.saved.reached(reached);
    this.resolved = this.resolved.filter(({ settledAt }) => settledAt > reached);
    if (pending || before.pending || isStored !== before.isStored) this.context.onChanged();
  }

  /** The change is told before the cursors: a tab that follows counts theirs in what it has heard of. */
  onView(step: Step): void {
    this.steps.tell(step);
    this.presence.onView(step);
    const carried = (one: Unresolved) => carriedConflict(one, step.before, step.operations);
    this.conflicts = this.conflicts.map(carried);
    this.resolved = this.resolved.map((one) => ({ ...one, conflict: carried(one.conflict) }));
    this.changes.tell(viewChange(step, this.#isEditing ? "local" : "remote"));
  }

  /** Asked, what isn't sent waits for the user's word. */
  onConflicts(found: readonly Unresolved[], isUnsent = false): void {
    const isHeld = isUnsent && this.onConflict === "ask";
    this.replicator.flight.isHeld ||= isHeld;
    for (const one of found) {
      // Of what still waits the last that others wrote there is told.
      const others = this.conflicts.filter(
        ({ path, theirs }) => !isUnsent || path !== one.path || !equal(theirs, one.base),
      );
      this.conflicts = [...others, isHeld ? refused(one, this.confirmed.version) : one];
    }
  }

  onRefused(error: Refusal, operations: Patch): void {
    const { code, message, index = null } = error;
    this.saved.reject(new EditError(code, message, index));
    // Where it wrote, a resolution that isn't in the view any more was in it: it is asked again.
    const members = operations.map(memberOf);
    const isBack = ({ conflict, value }: Resolved) =>
      members.includes(memberOf(conflict)) && !equal(valueAt(this.view, conflict.path), value);
    const back = this.resolved.filter(isBack).map(({ conflict }) => ({ ...conflict, problem: message }));
    // It took the place of nothing.
    const isOver = (one: Unresolved) =>
      one.kind === "overwrote" &&
      members.includes(memberOf(one)) &&
      equal(valueAt(this.view, one.path), one.theirs);
    this.conflicts = [...back, ...this.conflicts.filter((one) => !isOver(one))];
    this.resolved = this.resolved.filter((one) => !isBack(one));
    this.tell("EDIT_REFUSED", error, operations);
  }

  tell(code: ProblemCode, error: Refusal, operations?: Patch): void {
    const { type, id, context } = this;
    const refusal = { ...error } as unknown as Record<string, Json>;
    context.onProblem({ code, message: error.message, type, id, refusal, ...(operations && { operations }) });
  }

  /** The message's id; null where there is no connection, or nothing subscribed yet. */
  send(type: string, payload: Payload): string | null {
    const link = this.isLive || type.endsWith("SUBSCRIBE") ? this.context.link() : null;
    return link?.send(type, { resource_type: this.type, resource_id: this.id, ...payload }) ?? null;
  }

  // ------------------------------------------------------------------------------------------- changes

  /** Something of the user's that changes the view, and is to be kept and sent. */
  edited(work: () => void, isOwn = true): void {
    this.#isEditing = isOwn;
    try {
      work();
    } finally {
      this.#isEditing = false;
    }
    this.keep();
  }

  /** There is something that isn't in the store yet. */
  keep(): void {
    this.#edits++;
    void this.store();
  }

  becomeReady(): void {
    if (this.status === "closed") return;
    this.status = "ready";
    this.denial = null;
  }

  /** The token doesn't grant it; or its name can't be one, which nothing else tells. */
  forbid(error: Refusal): void {
    const { code, message } = error;
    const isFault = code !== "FORBIDDEN";
    if (isFault && !this.denial) this.tell("ERROR", error);
    this.denial = new RequestError(code, message, isFault ? 400 : 403);
    this.isLive = false;
    this.status = "forbidden";
    this.presence.leave();
    this.saved.reject(this.denial);
  }

  /** After each message: the confirmed document as it is now, and who made it so. */
  remember(author: string | null = null): void {
    const { replica } = this.replicator;
    if (replica) this.#confirmed.add(replica.version, replica.document, author);
  }

  // --------------------------------------------------------------------------------------------- store

  /** Is every edit made so far durable? */
  get isStored(): boolean {
    return this.#storedEdits >= this.#edits;
  }

  storeSoon(): void {
    this.#saveTimer ??= this.context.environment.setTimeout(() => void this.store(), SAVE_AFTER_MS);
  }

  /** True when all that was edited before is durable. Of a document that isn't here yet the store may have more. */
  async store(): Promise<boolean> {
    if (!this.replicator.replica && this.isStored) return true;
    await this.restored;
    return !this.isUnread && this.#write();
  }

  async #write(): Promise<boolean> {
    const { environment, keeper } = this.context;
    environment.clearTimeout(this.#saveTimer);
    this.#saveTimer = null;
    const edits = this.#edits;
    // Which documents have something to send is found by key, without reading each of them.
    const isQueued = !!this.replicator.flight.pending;
    if (isQueued !== this.isQueued) {
      this.isQueued = isQueued;
      void keeper.save(`queue/${this.key}`, () => (this.replicator.flight.pending ? 1 : undefined));
    }
    let view: Json | undefined; // stays undefined where a later write has it
    const isStored = await keeper.save(`doc/${this.key}`, () => {
      view = this.view;
      return this.#record();
    });
    if (isStored && view !== undefined) this.stored = view;
    if (isStored && edits > this.#storedEdits) {
      this.#storedEdits = edits;
      this.refresh();
    }
    return isStored;
  }

  #record(): Json | undefined {
    const saved = this.replicator.save();
    if (!saved) return undefined;
    const { conflicts, role, onConflict } = this;
    const resolved = shifted(this.resolved, -this.replicator.flight.settled);
    const asked = saved.edits && onConflict && { onConflict };
    const record: Saved = { ...saved, conflicts, resolved, role, ...asked };
    return record as unknown as Json;
  }

  /** What the store has, and upon it what was made here before that was known, and has its answer where it was sent. */
  async restore(): Promise<void> {
    const saved = await this.load(() => this.isAwaiting);
    if (!saved || this.stored !== undefined) {
      void this.store(); // there is nothing, or it was taken over from another tab
    } else if (this.replicator.replica) {
      const part = await import("../tabs/tabs.js").catch((cause) =>
        this.#setAside(saved, cause, "STORE_UNAVAILABLE", "A part of the client can't be loaded"),
      );
      await part?.takeOver(this, () => this.context.keeper.isOwner);
    } else if (this.status !== "closed") this.goOnWith(saved);
  }

  /** Go on without a record, which is kept beside what is written over it. */
  #setAside(saved: Saved, cause: unknown, code: ProblemCode, why: string): void {
    const { context, key, type, id } = this;
    void context.keeper.save(`corrupt/${key}`, () => saved as unknown as Json);
    this.#edits++;
    void this.#write();
    this.refresh();
    context.onProblem({ code, message: `${why}. What was stored as ${key} was set aside.`, type, id, cause });
  }

  /** Go on with a record, and with what is done `upon` it; one that doesn't fit together is set aside. */
  goOnWith(saved: Saved, upon?: () => void): void {
    try {
      this.replicator.restore(saved);
      this.#storedEdits = this.#edits;
      this.stored = this.view;
      this.conflicts = saved.conflicts;
      this.resolved = shifted(saved.resolved ?? [], this.replicator.flight.settled);
      this.role = saved.role;
      this.#asked = saved.onConflict;
      upon?.();
    } catch (cause) {
      this.#setAside(saved, cause, "STORE_CORRUPT", "It can't be read");
      return;
    }
    this.remember();
    if (this.status === "loading") this.becomeReady();
    this.refresh();
  }
}

const shifted = (resolved: readonly Resolved[], by: number): Resolved[] =>
  resolved.map((one) => ({ ...one, settledAt: one.settledAt + by }));
