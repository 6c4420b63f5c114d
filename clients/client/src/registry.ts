/** The documents and calendars that a client has open, and what the connection has for them. */

import type { Calendar, DocumentOptions, Json } from "./api.js";
import { LiveCalendar } from "./calendars.js";
import type { DocumentContext, Sender } from "./documents/context.js";
import { Document } from "./documents/document.js";
import { CHANGES_MAX } from "./documents/wire.js";
import { lazy } from "./lazy.js";
import type { Listing, Listings } from "./listings.js";
import { FINAL, keyOf, type Message, resourceOf } from "./wire.js";

export class Registry {
  #documents = new Map<string, Document<Json>>();
  #calendars = new Map<string, LiveCalendar>();
  #listings: Listings | null = null; // null: not loaded, so no calendar is listed
  #attached = new Map<string, Document<Json>>(); // those whose record was looked for: they take part in the wire

  constructor(
    private readonly context: DocumentContext,
    /** Kept when it is known who owns the store: nothing is read from it before. */
    private readonly started: () => Promise<unknown>,
  ) {}

  get documents(): Document<Json>[] {
    return [...this.#documents.values()];
  }

  // -------------------------------------------------------------------------------------------- opening

  open(type: string, id: string, options: DocumentOptions = {}): Document<Json> {
    const key = keyOf(type, id);
    const document = this.#documents.get(key) ?? this.#add(type, id, key);
    document.holders++;
    Object.assign(document.state.options, options);
    return document;
  }

  /** A document takes part, once more where it does, once its record was looked for: what was kept comes before what the server says. */
  async attach(document: Document<Json>): Promise<void> {
    const { state } = document;
    state.restored = this.started().then(() => state.restore());
    await state.restored;
    await null; // one that was closed by then ends first
    if (state.status === "closed" || (state.isUnread && this.#attached.has(state.key))) return;
    this.#attached.set(state.key, document);
    if (this.context.link()) document.wire.subscribe();
    else this.context.nudge(true);
  }

  #add(type: string, id: string, key: string): Document<Json> {
    const document = new Document<Json>(type, id, this.context, () => this.#release(document, key));
    this.#documents.set(key, document);
    void this.attach(document);
    return document;
  }

  #release(document: Document<Json>, key: string): void {
    if (!document.holders || --document.holders) return;
    // What isn't sent yet goes first, also of what was kept; a page that closes and opens at once keeps its subscription.
    const end = () => {
      if (document.holders || this.#documents.get(key) !== document) return ended();
      const { pending, conflicts } = document.snapshot;
      if (pending) return;
      ended();
      this.#documents.delete(key);
      this.#attached.delete(key);
      // Nobody sees them there any more. Of what is open in other tabs the one that leads knows.
      if (conflicts.length && this.context.keeper.isOwner)
        this.context.onProblem({
          code: "CONFLICT",
          message: `${key} has conflicts: open it.`,
          type: document.type,
          id: document.id,
        });
      void document.end();
    };
    const ended = document.subscribe(end);
    void document.state.restored.then(end);
  }

  /** Edits that were kept when the last client ended are sent, whether or not somebody opens their document. */
  openQueued(key: string): void {
    const at = key.indexOf(":");
    if (!this.#documents.has(key)) this.open(key.slice(0, at), key.slice(at + 1)).close();
  }

  calendar(id: string): Calendar {
    const calendar: LiveCalendar =
      this.#calendars.get(id) ?? new LiveCalendar(id, () => this.#releaseCalendar(calendar));
    this.#calendars.set(id, calendar);
    calendar.holders++;
    const message = "A part of the client can't be loaded.";
    this.#list().catch((cause) =>
      this.context.onProblem({ code: "ERROR", message, type: "calendar", id, cause }),
    );
    return calendar;
  }

  #releaseCalendar(calendar: LiveCalendar): void {
    if (!calendar.holders || --calendar.holders) return;
    this.#calendars.delete(calendar.id);
    this.#listings?.remove(calendar.id);
  }

  #loadListings = lazy(async () => {
    const { Listings } = await import("./listings.js");
    this.#listings = new Listings(this.context);
    return this.#listings;
  });

  /** What calendars show comes over the network, and so does the code for it; rejects where that can't be loaded now. */
  async #list(): Promise<Listing[]> {
    if (!this.#calendars.size) return [];
    const listings = await this.#loadListings();
    for (const calendar of this.#calendars.values()) listings.add(calendar);
    return listings.all;
  }

  // ----------------------------------------------------------------------------------------- connection

  onOnline(link: Sender): void {
    this.#subscribe(link);
    this.#listings?.onOnline(link);
    this.#list().catch(() => {}); // which was told when they were opened
  }

  /** What isn't live, where the server takes it in one message: that takes none of them where one is refused. */
  #subscribe(link: Sender): void {
    const due = [...this.#attached.values()].filter(({ state }) => !state.isLive);
    const allowed = due.filter(({ state }) => !state.denial).slice(0, 1_000);
    const documents = allowed.length > 1 && link.features.includes("subscribe_many") ? allowed : [];
    for (const one of due) if (!documents.includes(one)) one.wire.subscribe();
    if (!documents.length) return;
    const resources = documents.map(({ wire }) => wire.subscription());
    const ref = link.send("SUBSCRIBE", {
      resources,
      visible: this.context.isVisible(),
      max_changes: CHANGES_MAX,
    });
    for (const { wire } of documents) {
      wire.onOnline();
      wire.subscribeRef = ref;
    }
  }

  onOffline(): void {
    for (const document of this.#attached.values()) document.onOffline();
    this.#listings?.onOffline();
  }

  onMessage(message: Message): void {
    const { type, payload } = message;
    const key = resourceOf(payload);
    // What names nothing that takes part may be of a calendar that isn't granted any more.
    if (type.startsWith("CHILD") || payload.ref === "children" || (key && !this.#attached.has(key))) {
      this.#listings?.onMessage(message);
    } else if (key !== null) this.#attached.get(key)?.wire.onMessage(message);
    else if (type === "ERROR") this.#onError(message);
  }

  /** An error that names no resource is the answer to a SUBSCRIBE, or to nothing that is known. */
  #onError(message: Message): void {
    const { ref, code, message: text } = message.payload;
    const asked = [...this.#attached.values()].filter(({ wire }) => ref && wire.subscribeRef === ref);
    const isOfOne = asked.length > 1 && FINAL.includes(code as string); // which one, each finds out alone
    for (const { wire } of asked) isOfOne ? wire.subscribe() : wire.onMessage(message);
    if (!asked.length)
      this.context.onProblem({ code: "ERROR", message: text as string, refusal: message.payload });
  }

  /** Over HTTP, as long as it `isOn`: what waits to be sent, and where it `isWhole` all. Rejects where there is no answer. */
  async poll(isOn: () => boolean, isWhole: boolean): Promise<void> {
    return (await import("./documents/polling.js")).pollAll(
      this.#attached.values(),
      () => this.#list(),
      isOn,
      isWhole,
    );
  }

  async end(): Promise<void> {
    await Promise.all(this.documents.map((document) => document.end()));
  }
}
