/** Who is in a document, and where: others' cursors carried through changes, one's own told and carried. */

import type { Cursor, Environment, Json, Presence, PresenceRoom, PresenceSnapshot } from "../api.js";
import { Cell } from "../cell.js";
import type { Step } from "../documents/change.js";
import { equal } from "../kernel/index.js";
import { Timer } from "../timer.js";
import type { Payload } from "../wire.js";
import { between, carried, fromUnits, NOWHERE, type ToldCursor, toUnitsOf } from "./cursors.js";

/** What a room needs of its document. */
export interface RoomDocument {
  readonly context: { readonly environment: Environment; clientId(): string };
  readonly confirmed: { version: number; document: Json };
  /** The confirmed changes since a version, as far as they are remembered. */
  since(version: number): Step[];
  readonly view: Json;
  /** Goes nowhere while there is no live connection: `resume` tells everything to the next. */
  send(type: string, payload: Payload): void;
}

interface Entry {
  presence: Presence;
  /** Offsets in code points, in the view's text. */
  cursor: Cursor;
  /** What the application sees: the same object as long as nothing changes. */
  shown: Presence | null;
}

/** Moves are told at once, then each so many milliseconds. */
const MOVE_MS = 100;
const TYPING_MS = 5_000;
const NOBODY: PresenceSnapshot = Object.freeze({ others: Object.freeze([]), self: null, count: 0 });

export class Room extends Cell<PresenceSnapshot> implements PresenceRoom {
  #entries = new Map<string, Entry>();
  #count = 0;
  #own = NOWHERE;
  #isTyping = false;
  #toldAt = -Infinity;
  #tellTimer: Timer;
  #typingTimer: Timer;

  constructor(private readonly document: RoomDocument) {
    super(NOBODY);
    const { environment } = document.context;
    this.#tellTimer = new Timer(environment);
    this.#typingTimer = new Timer(environment);
  }

  // ------------------------------------------------------------------------------------------- oneself

  setCursor(cursor: Cursor | null): void {
    const own = fromUnits(cursor ?? NOWHERE, this.document.view);
    if (cursor === null) this.setTyping(false);
    // Where typing alone moved the caret, the edit tells it to the others.
    if (equal(own as unknown as Json, this.#own as unknown as Json)) return;
    this.#own = own;
    this.#tellSoon();
  }

  setTyping(isTyping: boolean): void {
    this.#typingTimer.end();
    if (isTyping) this.#typingTimer.set(TYPING_MS, () => this.setTyping(false));
    // Who types on says so again: the server ends it after a while.
    const isOld = isTyping && this.document.context.environment.now() - this.#toldAt >= TYPING_MS;
    if (isTyping === this.#isTyping && !isOld) return;
    this.#isTyping = isTyping;
    this.#tellSoon();
  }

  #tellSoon(): void {
    this.#tellTimer.end();
    const wait = this.#toldAt + MOVE_MS - this.document.context.environment.now();
    if (wait > 0) this.#tellTimer.set(wait, () => this.#tell());
    else this.#tell();
  }

  /** One's own cursor goes out as it stands in the confirmed text, which is the one that others have. */
  #tell(): void {
    this.#toldAt = this.document.context.environment.now();
    const { version, document } = this.document.confirmed;
    const cursor = between(this.#own, this.document.view, document, false);
    const place = cursor.position === undefined ? cursor : { ...cursor, version };
    this.document.send("PRESENCE_UPDATE", { cursor: place as unknown as Payload, is_typing: this.#isTyping });
  }

  // -------------------------------------------------------------------------------------------- others

  /** A new subscription: tell it where this user is, also that it is nowhere any more. */
  resume(): void {
    if (this.#toldAt > -Infinity || this.#isTyping || this.#own.field) this.#tell();
  }

  /** No connection: nobody is known to be here, and nobody was told where this user is. */
  leave(): void {
    this.#entries.clear();
    this.#toldAt = -Infinity;
    this.#count = 0;
    this.#show();
  }

  onMessage(type: string, payload: Payload): void {
    if (type === "PRESENCE_STATE") {
      this.#entries.clear();
      for (const presence of payload.presences as unknown as Presence[]) this.#put(presence);
      this.#count = payload.count as number;
    } else if (type === "PRESENCE_LEAVE") {
      if (this.#entries.delete(payload.session_id as string)) this.#count--;
    } else {
      const presence = payload as unknown as Presence;
      if (!this.#entries.has(presence.session_id)) this.#count++;
      this.#put(presence);
    }
    this.#show();
  }

  /** Into the view: from the text at the version that the sender saw, past what came since and what is pending. */
  #put(presence: Presence): void {
    const { version, ...told } = presence.cursor as ToldCursor;
    const confirmed = this.document.confirmed;
    const steps = this.document.since(version ?? confirmed.version);
    // Of a version that isn't remembered only the field is known.
    const isLost = (version as number) < confirmed.version && !steps.length;
    const cursor = steps.reduce(
      (at, step) => carried(at, step, presence.client_id),
      isLost ? { field: told.field } : told,
    );
    const inView = between(cursor, confirmed.document, this.document.view, true);
    this.#entries.set(presence.session_id, { presence, cursor: inView, shown: null });
  }

  /** The view changed: cursors go along. Its author's own cursor stands after what was inserted at it. */
  onView(step: Step): void {
    this.#own = carried(this.#own, step, this.document.context.clientId());
    for (const entry of this.#entries.values()) {
      const moved = carried(entry.cursor, step, entry.presence.client_id);
      if (moved !== entry.cursor) Object.assign(entry, { cursor: moved, shown: null });
    }
    this.#show();
  }

  #show(): void {
    const view = this.document.view;
    const clientId = this.document.context.clientId();
    const others: Presence[] = [];
    let self: Presence | null = null;
    for (const entry of this.#entries.values()) {
      entry.shown ??= Object.freeze({ ...entry.presence, cursor: toUnitsOf(entry.cursor, view) });
      if (entry.presence.client_id === clientId) self = entry.shown;
      else others.push(entry.shown);
    }
    const old = this.snapshot.others;
    const isOld = equal(old as unknown as Json, others as unknown as Json);
    this.update({ others: isOld ? old : others, self, count: this.#count });
  }

  close(): void {
    this.#tellTimer.end();
    this.#typingTimer.end();
  }
}
