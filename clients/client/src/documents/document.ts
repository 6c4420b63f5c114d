/** A document as the application holds it. */

import type {
  Conflict,
  DocumentOptions,
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
import { PatchError, textDifference, writeDelta } from "../kernel/index.js";
import { patchOf, valueAt } from "./conflicts.js";
import type { DocumentContext } from "./context.js";
import { NO_EPOCH } from "./replicator.js";
import { DocumentState } from "./state.js";
import { Bursts, isTyping } from "./typing.js";
import { DocumentWire } from "./wire.js";

export class Document<T = Json> implements SharedDocument<T> {
  readonly options: DocumentOptions = {};
  readonly state: DocumentState;
  readonly wire: DocumentWire;
  readonly subscribe: (listener: () => void) => () => void;
  #bursts = new Bursts();

  constructor(
    readonly type: string,
    readonly id: string,
    private readonly context: DocumentContext,
    /** Release it; the last one unsubscribes. */
    readonly close: () => void,
  ) {
    this.state = new DocumentState(type, id, context);
    this.wire = new DocumentWire(this.state, this.options);
    this.subscribe = this.state.cell.subscribe;
  }

  get snapshot(): DocumentSnapshot<T> {
    return this.state.cell.snapshot as DocumentSnapshot<T>;
  }

  get presence(): PresenceRoom {
    return this.state.presence;
  }

  // --------------------------------------------------------------------------------------------- edits

  edit(operations: PatchOperation | Patch): void {
    const patch = (Array.isArray(operations) ? operations : [operations]) as Patch;
    if (!patch.length) return;
    this.#checkEditable();
    const isTyped = isTyping(patch);
    const joins = this.#bursts.joins(patch, this.context.environment.now());
    try {
      this.#edited(() => this.state.replicator.edit(patch, joins), isTyped);
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
      throw new EditError(error.code, error.message, error.index);
    }
    if (isTyped) this.presence.setTyping(true);
  }

  #checkEditable(): void {
    const { replicator, role, status, key } = this.state;
    if (role === "viewer" || status === "forbidden") {
      throw new EditError("FORBIDDEN", `${key} may be viewed, not edited.`);
    }
    if (!replicator.replica) throw new EditError("NOT_READY", `${key} isn't loaded: await ready() first.`);
  }

  #edited(work: () => void, isTyped = false): void {
    this.state.edited(work);
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
    if (now === text) return;
    if (typeof now !== "string") this.set(path, text);
    else this.edit({ op: "text", path, value: writeDelta(textDifference(now, text)) });
  }

  create(value: T): void {
    if (!this.state.replicator.replica) this.begin();
    this.edit({ op: "add", path: "", value: value as Json });
  }

  /** Offline, and never seen: from nothing, and merged with what is there when the server answers. */
  begin(): void {
    this.state.replicator.begin();
    this.state.becomeReady();
  }

  delete(): Promise<void> {
    this.edit({ op: "replace", path: "", value: null });
    return this.saved();
  }

  undo(): void {
    this.#takeBack(() => this.state.replicator.undo());
  }

  redo(): void {
    this.#takeBack(() => this.state.replicator.redo());
  }

  #takeBack(work: () => void): void {
    this.#checkEditable();
    this.#bursts.end();
    this.#edited(work);
  }

  ready(): Promise<void> {
    return this.state.ready.wait(1, this.state.status === "loading" ? 0 : 1);
  }

  saved(): Promise<void> {
    const { settled, pending } = this.state.replicator.flight;
    const own = this.state.saved.wait(settled + pending, settled);
    return this.state.leading ? own.then(() => this.#settledThere()) : own;
  }

  /** The tab that has the queue has everything acknowledged. */
  #settledThere(): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.snapshot.pending) return;
        end();
        resolve();
      };
      const end = this.subscribe(look);
      look();
    });
  }

  async stored(): Promise<void> {
    if (!this.snapshot.isStored) await this.state.store();
    if (!this.state.isStored) throw new StoreFullError(`${this.state.key} has edits that aren't stored.`);
  }

  // ----------------------------------------------------------------------------------------- conflicts

  resolve(conflictId: string, resolution: Resolution): void {
    const { state } = this;
    if (state.leading) {
      state.send("RESOLVE", { conflict: conflictId, resolution: resolution as Json });
      return;
    }
    const conflict = state.conflicts.find((one) => one.id === conflictId);
    if (!conflict) return;
    state.conflicts = state.conflicts.filter((one) => one !== conflict);
    if (conflict.kind === "refused") this.#decide(conflict, resolution);
    else this.#write(conflict, resolution, conflict.kind === "overwrote" ? "mine" : "theirs");
    void state.store();
    state.refresh();
  }

  /** `standing`: the side that is in the document now. */
  #write(conflict: Conflict, resolution: Resolution, standing: "mine" | "theirs"): void {
    if (resolution === standing) return;
    if (resolution === "theirs" && conflict.omitted.includes("theirs")) void this.#fetchTheirs(conflict);
    else {
      const value = typeof resolution === "string" ? conflict[resolution] : resolution.value;
      this.edit(patchOf(this.state.view, conflict.path, value));
    }
  }

  async #fetchTheirs(conflict: Conflict): Promise<void> {
    try {
      const { document } = await this.at(conflict.version ?? this.snapshot.version);
      this.edit(patchOf(this.state.view, conflict.path, valueAt(document as Json, conflict.path)));
    } catch (cause) {
      this.state.conflicts = [...this.state.conflicts, conflict];
      const message = "What the others wrote could not be fetched: resolve it again later.";
      this.context.onProblem({ code: "ERROR", message, type: this.type, id: this.id, cause });
      this.state.refresh();
    }
  }

  /** A refused patch is one: with more than one conflict it is sent, and the answers are edits upon it. */
  #decide(conflict: Conflict, resolution: Resolution): void {
    const { state } = this;
    const isAlone = !state.conflicts.some((one) => one.kind === "refused");
    const isSent = resolution === "mine" || !isAlone;
    state.replicator.decide(isSent);
    state.conflicts = state.conflicts.map(asOverwriting);
    this.#write(conflict, resolution, isSent ? "mine" : "theirs");
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
    const { document } = await this.at(version);
    this.edit(this.state.replicator.patchTo(document as Json));
  }

  onChange(listener: (change: ViewChange) => void): () => void {
    return this.state.changes.add(listener);
  }

  // -------------------------------------------------------------------------------- for the client only

  async poll(): Promise<void> {
    const { poll } = await import("./polling.js");
    await poll(this.state, this.wire);
  }

  onOffline(): void {
    this.state.isLive = false;
    this.state.presence.leave();
    this.state.refresh();
  }

  tellVisible(): void {
    this.state.send("PRESENCE_UPDATE", { visible: this.context.isVisible() });
    if (this.context.isVisible()) this.state.presence.resume();
  }

  /** This client has another name now, under which the server knows nothing of it: states are merged. */
  startOver(): void {
    this.wire.needsState = true;
    this.state.replicator.epoch = NO_EPOCH;
  }

  /** Nobody has it open: over. */
  async end(): Promise<void> {
    this.state.send("UNSUBSCRIBE", {});
    this.state.isLive = false;
    this.state.status = "closed";
    this.wire.outbox.close();
    this.presence.setTyping(false);
    this.state.presence.close();
    await this.state.store();
    this.state.refresh();
  }
}

const asOverwriting = (one: Conflict): Conflict =>
  one.kind === "refused" ? { ...one, kind: "overwrote" } : one;
