/** A document as the application holds it. */

import type {
  DocumentSnapshot,
  HistoryPage,
  HistoryQuery,
  Json,
  Patch,
  PatchOperation,
  PresenceRoom,
  Resolution,
  SharedDocument,
  ViewChange,
} from "../api.js";
import { EditError, StoreFullError } from "../errors.js";
import { difference, emit, type IsWanted, PatchError, textDifference, writeDelta } from "../kernel/index.js";
import { patchOf, type Reported, resolving, type Unresolved, valueAt } from "./conflicts.js";
import type { DocumentContext } from "./context.js";
import { DocumentState, EVERYTHING } from "./state.js";
import { Bursts, isTyping } from "./typing.js";
import { DocumentWire } from "./wire.js";

export class Document<T = Json> implements SharedDocument<T> {
  readonly state: DocumentState;
  readonly wire: DocumentWire;
  readonly subscribe: (listener: () => void) => () => void;
  /** So many calls of `open` aren't closed yet. */
  holders = 0;
  #bursts = new Bursts();

  constructor(
    readonly type: string,
    readonly id: string,
    private readonly context: DocumentContext,
    /** Release it; the last one unsubscribes. */
    readonly close: () => void,
  ) {
    this.state = new DocumentState(type, id, context);
    this.wire = new DocumentWire(this.state);
    this.subscribe = this.state.cell.subscribe;
  }

  get snapshot(): DocumentSnapshot<T> {
    return this.state.cell.snapshot as DocumentSnapshot<T>;
  }

  get presence(): PresenceRoom {
    return this.state.presence;
  }

  // --------------------------------------------------------------------------------------------- edits

  /** What is edited in another tab isn't this one's own. */
  edit(operations: PatchOperation | Patch, isOwn = true): void {
    const patch = [operations].flat() as Patch;
    if (!patch.length) return;
    this.#checkEditable();
    const joins = isOwn ? this.#bursts.joins(patch, this.context.environment.now()) : null;
    const isTyped = joins || isTyping(patch);
    try {
      this.#edited(() => this.state.replicator.edit(patch, joins), isTyped, isOwn);
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
      this.#bursts.end();
      throw new EditError(error.code, error.message, error.index);
    }
    if (isTyped && isOwn) this.presence.setTyping(true);
  }

  #checkEditable(): void {
    const { replicator, role, status, key } = this.state;
    if (status === "closed") throw this.#closed();
    if (status === "forbidden" || role === "viewer")
      throw new EditError("FORBIDDEN", `The token grants no edits of ${key}.`);
    if (!replicator.replica) throw new EditError("NOT_READY", `${key} isn't loaded: await ready().`);
  }

  #closed(): EditError {
    return new EditError("CLOSED", `${this.state.key} was closed: open it again.`);
  }

  #edited(work: () => void, isTyped = false, isOwn = true): void {
    this.state.edited(work, isOwn);
    this.wire.outbox.request(isTyped);
    if (!this.state.isLive) this.context.nudge();
    this.state.refresh();
  }

  set(path: string, value: Json): void {
    this.edit(patchOf(this.state.view, path, value));
  }

  remove(path: string): void {
    this.edit({ op: "remove", path });
  }

  setText(path: string, text: string): void {
    const now = valueAt(this.state.view, path);
    if (typeof now !== "string") this.set(path, text);
    else if (now !== text) this.edit({ op: "text", path, value: writeDelta(textDifference(now, text)) });
  }

  create(value: T): void {
    if (this.state.status === "loading") {
      this.begin();
      if (this.wire.subscribeRef) this.wire.subscribe(); // a tab that leads, offline, could not answer before
    }
    try {
      this.edit({ op: "add", path: "", value: value as Json });
    } finally {
      this.state.refresh(); // that it began, where it can't be made
    }
  }

  /** Offline, and never seen: from nothing, and merged with what is there when the server answers. */
  begin(): void {
    this.state.replicator.begin();
    this.state.becomeReady();
  }

  async delete(): Promise<void> {
    this.set("", null);
    await this.saved();
  }

  undo(isWanted?: (after: T | null) => boolean): void {
    this.#takeBack("undo", isWanted);
  }

  redo(isWanted?: (after: T | null) => boolean): void {
    this.#takeBack("redo", isWanted);
  }

  #takeBack(way: "undo" | "redo", isWanted?: (after: T | null) => boolean): void {
    this.#checkEditable();
    this.#bursts.end();
    this.#edited(() => this.state.replicator.takeBack(way, isWanted as IsWanted | undefined));
  }

  ready(): Promise<void> {
    return this.until(({ status }) => status !== "loading");
  }

  async saved(): Promise<void> {
    const { replicator, saved, status, denial } = this.state;
    const { settled, pending } = replicator.flight;
    const refusal = status === "closed" ? this.#closed() : denial;
    if (this.snapshot.pending && refusal) throw refusal;
    await saved.wait(settled + pending, settled);
    // The tab that has the queue has everything acknowledged.
    if (this.state.leading) await saved.wait(EVERYTHING, this.snapshot.pending ? 0 : EVERYTHING);
  }

  /** Resolves when it is so; looked at after each change of the document or of the store's state. */
  until(isSo: (now: DocumentSnapshot<T>) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!isSo(this.snapshot)) return;
        resolve();
        for (const end of ends) end();
      };
      const ends = [this.subscribe(look), this.context.keeper.changed.add(look)];
      look();
    });
  }

  async stored(): Promise<void> {
    const { state } = this;
    const { keeper } = this.context;
    // Where another tab has the store, that one tells.
    const isEnded = () => this.snapshot.status === "closed";
    await this.until(({ isStored }) => isStored || keeper.isOwner || keeper.isFailing || isEnded());
    if (this.snapshot.isStored || (await state.store())) return;
    if (keeper.isFailing || state.isUnread)
      throw new StoreFullError(`${state.key} has edits that aren't stored.`);
    if (isEnded()) throw this.#closed();
    return this.stored(); // another tab has it by now
  }

  // ----------------------------------------------------------------------------------------- conflicts

  /** What is resolved in another tab isn't this one's own edit. */
  resolve(conflict: string | readonly string[], resolution: Resolution, isOwn = true): void {
    const { state } = this;
    const ids = [conflict].flat();
    const found = this.#unresolved(ids);
    if (!found.length) state.leading?.resolve(ids, resolution);
    for (const one of found) if (one.kind === "refused") this.#decide(one, resolution);
    this.#turn(ids, (one) => (resolution === (one.kind === "overwrote" ? "mine" : "theirs") ? [] : one));
    const long = this.#unresolved(ids).find(
      (one): one is Reported => one.theirs === undefined && one.omitted.includes("theirs"),
    );
    if (long && resolution === "theirs") void this.#fetchTheirs(long, ids, isOwn);
    else {
      const valueFor = (one: Unresolved) =>
        typeof resolution === "string" ? one[resolution] : resolution.value;
      this.#write(ids, valueFor, isOwn);
    }
  }

  #unresolved(ids: readonly string[]): Unresolved[] {
    return this.state.conflicts.filter(({ id }) => ids.includes(id));
  }

  /** What each of them becomes: itself with something more, or nothing. */
  #turn(ids: readonly string[], into: (one: Unresolved) => Unresolved | Unresolved[]): void {
    const { state } = this;
    state.conflicts = state.conflicts.flatMap((one) => (ids.includes(one.id) ? into(one) : one));
    void state.store();
    state.refresh();
  }

  /** In one patch. Conflicts stay where their resolution can't be written, and say why. */
  #write(ids: readonly string[], valueFor: (one: Unresolved) => Json | undefined, isOwn: boolean): void {
    const { state } = this;
    try {
      this.#bursts.end();
      this.edit(resolving(this.#unresolved(ids), valueFor, state.view, state.replicator.strategies), isOwn);
    } catch (cause) {
      if (!(cause instanceof EditError || cause instanceof PatchError)) throw cause;
      const { message } = cause;
      this.#turn(ids, (one) => ({
        ...one,
        problem: `${message} Choose the other side, or edit the document.`,
      }));
      return;
    }
    const { settled, pending } = state.replicator.flight;
    this.#turn(ids, (conflict) => {
      state.resolved = [
        ...state.resolved,
        { conflict, value: valueFor(conflict), settledAt: settled + pending },
      ];
      return [];
    });
  }

  async #fetchTheirs({ id, told }: Reported, ids: readonly string[], isOwn: boolean): Promise<void> {
    try {
      const { document } = await this.at(told.version);
      this.#turn([id], (one) => ({ ...one, theirs: valueAt(document as Json, told.path) ?? null }));
      this.resolve(ids, "theirs", isOwn);
    } catch {
      this.#turn([id], (one) => ({ ...one, problem: "This can't be read now: try later." }));
    }
  }

  /**
   * What becomes of a refused patch: with more than one conflict, more in it than what is in conflict, or more written
   * since, it is sent, and the answers are edits upon it.
   */
  #decide(asked: Unresolved, resolution: Resolution): void {
    const { state } = this;
    const { replicator } = state;
    const refused = state.conflicts.filter(({ kind }) => kind === "refused");
    const isAlone = refused.length === 1 && replicator.isAskedAlone();
    const isSent = !isAlone || (resolution === "mine" && asked.told?.kind === "overwrote");
    replicator.decide(isSent);
    this.#turn(
      refused.map(({ id }) => id),
      (one) => ({ ...one, kind: isSent ? (one as Reported).told.kind : "dropped" }),
    );
    this.wire.outbox.request(false);
  }

  // ------------------------------------------------------------------------------------------ the past

  async at(when: number | Date): Promise<{ version: number; document: T | null }> {
    return (await this.context.http()).at<T>(this.type, this.id, when);
  }

  async history(query: HistoryQuery = {}): Promise<HistoryPage> {
    return (await this.context.http()).history(this.type, this.id, this.snapshot.version, query);
  }

  async restore(version: number): Promise<void> {
    this.#checkEditable();
    const { document } = await this.at(version);
    this.edit(emit(this.state.view, difference(this.state.view, document as Json)));
  }

  onChange(listener: (change: ViewChange) => void): () => void {
    return this.state.changes.add(listener);
  }

  // -------------------------------------------------------------------------------- for the client only

  onOffline(): void {
    this.state.isLive = false;
    this.state.presence.leave();
    this.state.refresh();
  }

  tellVisible(): void {
    const visible = this.context.isVisible();
    this.state.send("PRESENCE_UPDATE", { visible });
    if (visible) this.state.presence.resume();
  }

  /** Nobody has it open: over. */
  async end(): Promise<void> {
    this.wire.unsubscribe();
    this.state.isLive = false;
    this.state.status = "closed";
    this.wire.outbox.close();
    this.state.presence.close();
    this.state.saved.reject(this.#closed());
    await this.state.store();
    this.state.refresh();
  }
}
