/**
 * A document of the leading tab, as a server's room for the other tabs.
 *
 * Its history is that of the leading tab's view: a tab's edit is lowered at the version that the tab saw, carried
 * past what came since and made in the leading tab, whose own changes and the server's go to the tabs like
 * anybody's. So an edit is in every tab at once, and in one queue, with or without a server.
 */

import type { Cursor, DocumentStatus, Json, Patch, Problem, Resolution } from "../api.js";
import type { Step } from "../documents/change.js";
import { refused, type Unresolved } from "../documents/conflicts.js";
import type { Document } from "../documents/document.js";
import { isTyping } from "../documents/typing.js";
import { apply, emit, lower, rebase } from "../kernel/index.js";
import { carried, fromUnits, type ToldCursor, toUnitsOf } from "../presence/cursors.js";
import type { Payload } from "../wire.js";
import { Losses } from "./losses.js";
import type { Standing } from "./notes.js";
import { ask, unseen, type ViewStep } from "./questions.js";

/** So many changes of the view are remembered; a tab that is further behind gets the state. */
const REMEMBERED = 200;

interface RoomEvents {
  tell(tab: string, type: string, payload: object): void;
  onStanding(standing: Standing): void;
}

export class TabRoom {
  #tabs = new Map<string, number>(); // to the newest `seq` known of each
  #wanted = new Map<string, Json>(); // what each last said of conflicts
  #version = 1;
  #changes: ViewStep[] = [];
  #acting: { tab: string; id: string } | null = null;
  #placed: string | null = null; // the tab in which the user is
  #status: DocumentStatus;
  #losses: Losses;
  #ends: (() => void)[];

  constructor(
    private readonly document: Document<Json>,
    private readonly epoch: number,
    private readonly events: RoomEvents,
  ) {
    this.#status = document.snapshot.status;
    this.#losses = new Losses(document.state);
    this.#ends = [
      document.state.steps.add((step) => this.#onView(step)),
      document.subscribe(() => this.#onSnapshot()),
      document.presence.subscribe(() => this.#tellPresence([...this.#tabs.keys()])),
    ];
  }

  get isEmpty(): boolean {
    return this.#tabs.size === 0;
  }

  standing(): Standing {
    const { version, role, pending, isStored, isLive, conflicts } = this.document.snapshot;
    return { version, role, pending, isStored, isLive, conflicts };
  }

  async onSay(tab: string, type: string, id: string, payload: Payload): Promise<void> {
    if (payload.on_conflict) this.#want(tab, payload.on_conflict);
    if (type === "SUBSCRIBE") await this.#subscribe(tab, id, payload);
    else if (type === "OP") this.#edit(tab, id, payload);
    else if (type === "RESOLVE")
      this.document.resolve(payload.conflict as string[], payload.resolution as Resolution, false);
    else if (type === "LOST") this.#losses.onLost(tab, payload.conflict as object as Unresolved);
    else if (type === "PRESENCE_UPDATE") this.#place(tab, payload);
  }

  /** It goes with each edit of a tab, and counts as a word of that tab's only where it is another than before. */
  #want(tab: string, wanted: Json): void {
    if (wanted === this.#wanted.get(tab)) return;
    this.#wanted.set(tab, wanted);
    this.document.state.options.onConflict = wanted === "refuse" ? "ask" : "merge";
  }

  async #subscribe(tab: string, ref: string | null, payload: Payload): Promise<void> {
    this.#tabs.set(tab, this.#tabs.get(tab) ?? 0);
    if (payload.is_new) await this.#begin();
    await this.document.ready();
    const seq = this.#tabs.get(tab);
    if (seq === undefined || this.document.state.status === "closed") return; // it left meanwhile, or this tab ends
    const { denial } = this.document.state;
    if (denial) {
      this.events.tell(tab, "ERROR", { code: denial.code, message: denial.message, ref });
      return;
    }
    const { role } = this.document.snapshot;
    const state = this.document.state.view;
    const version = this.#version;
    this.events.tell(tab, "SUBSCRIBE_ACK", { version, epoch: this.epoch, role, state, seq_last: seq });
    this.events.onStanding(this.standing());
    this.#tellPresence([tab]);
  }

  /** Made in a tab, and never seen anywhere, nor kept: it is made here as well, before the server is asked. */
  async #begin(): Promise<void> {
    const { state } = this.document;
    await state.restored;
    if (state.status !== "loading") return;
    this.document.begin();
    state.refresh();
  }

  /** Whether the document may be seen, the tabs hear as they would of the server. */
  #onSnapshot(): void {
    const { status } = this.document.snapshot;
    const isTurned = status !== this.#status && this.#status !== "loading";
    this.#status = status;
    this.events.onStanding(this.standing());
    if (isTurned) for (const tab of this.#tabs.keys()) void this.#subscribe(tab, null, {});
  }

  leave(tab: string): void {
    this.#tabs.delete(tab);
    this.#wanted.delete(tab);
    if (tab === this.#placed) this.document.presence.setCursor(null);
  }

  end(): void {
    if (this.#placed) this.document.presence.setCursor(null); // the next tab that leads tells it
    this.abandon();
    this.document.close();
  }

  /** Its document ends with the client. */
  abandon(): void {
    for (const end of this.#ends) end();
  }

  // --------------------------------------------------------------------------------------------- edits

  #edit(tab: string, id: string, payload: Payload): void {
    const seq = Number(payload.seq);
    const since = this.#since(Number(payload.version));
    if (!since || payload.epoch !== this.epoch) {
      this.events.tell(tab, "ERROR", { code: "VERSION_TOO_OLD", message: "Ask for the state.", ref: id });
      return;
    }
    try {
      this.#commit(tab, id, payload.operations as unknown as Patch, since);
      this.#tabs.set(tab, seq);
    } catch (error) {
      const { code = "INVALID_OPERATION", message } = error as { code?: string; message: string };
      this.events.tell(tab, "ERROR", { code, message, ref: id });
    }
  }

  /** What changed after a version; null where that isn't remembered. */
  #since(version: number): ViewStep[] | null {
    const at = this.#changes.length - (this.#version - version);
    return at >= 0 && version <= this.#version ? this.#changes.slice(at) : null;
  }

  #commit(tab: string, id: string, patch: Patch, since: ViewStep[]): void {
    const { state } = this.document;
    const { view, replicator } = state;
    const base = since[0]?.before ?? view;
    const lowered = lower(base, patch, replicator.strategies);
    const operations = rebase(
      lowered,
      since.map((change) => change.operations),
    );
    apply(view, operations); // its tests hold here as well
    const merged = emit(view, operations, true);
    const questions = unseen(base, lowered, since, operations, state.context.clientId());
    const isHeld = questions.length > 0 && merged.length > 0 && state.onConflict === "ask";
    const { version } = state.confirmed;
    this.#acting = { tab, id };
    try {
      if (merged.length) {
        this.#make(merged, isHeld);
        if (isTyping(patch)) this.document.presence.setTyping(true);
      } else if (view === null) this.#losses.onLate(tab, base, apply(base, lowered));
      this.document.wire.outbox.request(false); // the tab has waited for more typing already
      // A change that others left nothing of takes its version all the same, as the server has it.
      if (this.#acting) this.#onView({ before: view, operations: [], after: view, author: null });
      if (questions.length) ask(state, isHeld ? questions.map((one) => refused(one, version)) : questions);
    } finally {
      this.#acting = null;
    }
  }

  /** With `isHeld` nothing goes to the server before the user's word. */
  #make(patch: Patch, isHeld: boolean): void {
    const { flight } = this.document.state.replicator;
    const wasHeld = flight.isHeld;
    flight.isHeld ||= isHeld;
    try {
      this.document.edit(patch, false);
    } catch (error) {
      flight.isHeld = wasHeld;
      throw error;
    }
  }

  /** What a tab handed over can be among it, and whoever waits there for it to be saved. */
  refuse({ refusal, operations }: Problem): void {
    for (const tab of this.#tabs.keys()) this.events.tell(tab, "REFUSED", { ...refusal, operations });
  }

  /** A change of the leading tab's view: the tab that made it gets the answer, the others the change. */
  #onView(step: Step): void {
    const { before, operations, after, author } = step;
    const { context, replicator } = this.document.state;
    const by = author !== null && author !== context.clientId() ? replicator.taken : undefined;
    if (after === null && before !== null) this.#losses.onDeleted(by);
    this.#version++;
    this.#changes.push({ ...step, by });
    if (this.#changes.length > REMEMBERED) this.#changes.shift();
    const acting = this.#acting;
    this.#acting = null;
    const patch = emit(before, operations);
    const version = this.#version;
    const whose = { client_id: author, user_id: by?.user_id };
    for (const tab of this.#tabs.keys()) {
      if (tab === acting?.tab) this.events.tell(tab, "OP_ACK", { id: acting.id, version, operations: patch });
      else this.events.tell(tab, "OP_BROADCAST", { version, operations: patch, ...whose });
    }
  }

  // ------------------------------------------------------------------------------------------ presence

  #tellPresence(tabs: string[]): void {
    const { others, self, count } = this.document.presence.snapshot;
    const { view } = this.document.state;
    const presences = [...others, ...(self ? [self] : [])].map((one) => {
      return { ...one, cursor: { ...fromUnits(one.cursor, view), version: this.#version } };
    });
    for (const tab of tabs) this.events.tell(tab, "PRESENCE_STATE", { presences, count });
  }

  /** The user is where the last tab that said so has them. */
  #place(tab: string, payload: Payload): void {
    const { presence, state } = this.document;
    const told = payload.cursor as unknown as ToldCursor | undefined;
    // Who left one tab for another is there by now.
    const cursor = told?.field || tab === this.#placed ? told : undefined;
    if (cursor) this.#placed = cursor.field ? tab : null;
    if (cursor) presence.setCursor(toUnitsOf(this.#inView(cursor), state.view));
    if (typeof payload.is_typing === "boolean") presence.setTyping(payload.is_typing);
  }

  /** From the text at the version that the tab saw, past what came since: that can be what it typed itself. */
  #inView({ version = this.#version, ...told }: ToldCursor): Cursor {
    const since = this.#since(version);
    if (!since) return { field: told.field };
    const clientId = this.document.state.context.clientId();
    return since.reduce<Cursor>((at, step) => carried(at, step, clientId), told);
  }
}
