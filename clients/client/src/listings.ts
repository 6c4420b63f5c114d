/** What calendars show, as summaries that stay up to date: told by the server, or listed over HTTP. */

import type { Summary } from "./api.js";
import { byStart, type LiveCalendar } from "./calendars.js";
import { type Bounds, delayMs } from "./connection/backoff.js";
import type { DocumentContext, Sender } from "./documents/context.js";
import { RequestError } from "./errors.js";
import type { HttpApi } from "./http.js";
import { FINAL, keyOf, type Message, type Payload, pauseOf, RETRY_MS, summaryOf } from "./wire.js";

const ID = /^[\w.~:@-]{1,128}$/;
/** How often the rest of a calendar is asked for. */
const UNLISTED: Bounds = { min_ms: RETRY_MS, max_ms: 64 * RETRY_MS };

export class Listings {
  #all = new Map<string, Listing>();

  constructor(private readonly context: DocumentContext) {}

  get all(): Listing[] {
    return [...this.#all.values()];
  }

  /** It is listed from now on, if it isn't yet. */
  add(calendar: LiveCalendar): void {
    if (this.#all.has(calendar.id)) return;
    const listing = new Listing(calendar, this.context.http);
    if (!ID.test(calendar.id)) {
      listing.onForbidden(); // the server would not say whose id is none
      return;
    }
    this.#all.set(calendar.id, listing);
    const link = this.context.link();
    if (link) this.#subscribe(link, listing);
    else this.context.nudge(true);
  }

  remove(id: string): void {
    if (this.#all.delete(id))
      this.context.link()?.send("UNSUBSCRIBE", { resource: "calendar", resource_id: id, children: true });
  }

  /** Where the server tells of a calendar's events it is asked to; else they are listed once a connection. */
  #subscribe(link: Sender, listing: Listing): void {
    if (!link.features.includes("children")) listing.poll().catch(() => {});
    else
      link.send("SUBSCRIBE", { resource: "calendar", resource_id: listing.id, children: true }, "children");
  }

  /** A long calendar that is live waits for the next connection: it would be short until the rest of it is listed. */
  onOnline(link: Sender): void {
    for (const listing of this.all) if (!listing.isLongAndLive) this.#subscribe(link, listing);
  }

  onOffline(): void {
    for (const listing of this.all) listing.onOffline();
  }

  onMessage({ type, payload }: Message): void {
    const listing = this.#all.get(String(payload.resource_id));
    if (!listing) return;
    const isAnswer = payload.ref === "children";
    if (type === "CHILDREN_FAILED") this.#onFailed(listing, String(payload.message));
    else if (type.startsWith("CHILD")) {
      listing.onMessage(type, payload).catch((error) => this.#onUnlisted(listing, error));
    } else if (type !== "ERROR" || !(isAnswer || payload.resource_type === "calendar")) return;
    else if (FINAL.includes(String(payload.code))) listing.onForbidden();
    else if (isAnswer) this.#subscribeLater(listing, pauseOf(payload.retry_after_ms, RETRY_MS));
  }

  /** For good, or in the tab that leads. */
  #onFailed({ id }: Listing, message: string): void {
    this.context.onProblem({ code: "ERROR", message, type: "calendar", id });
  }

  /** The rest of a long calendar can't be listed: for good, or for now. */
  #onUnlisted(listing: Listing, error: Error): void {
    if (error instanceof RequestError && !error.isPassing) this.#onFailed(listing, error.message);
    else
      this.#subscribeLater(listing, delayMs(listing.failures++, UNLISTED, this.context.environment.random));
  }

  #subscribeLater(listing: Listing, ms: number): void {
    const again = () => {
      const link = this.context.link();
      if (link && this.#all.get(listing.id) === listing) this.#subscribe(link, listing);
    };
    this.context.environment.setTimeout(again, ms);
  }
}

/** By name; null is one that was removed: a page that is on its way may have it still. */
type Items = Map<string, Summary | null>;

export class Listing {
  #items: Items = new Map();
  #isLong = false;
  /** Times in a row that the rest of it could not be listed. */
  failures = 0;

  constructor(
    private readonly calendar: LiveCalendar,
    private readonly http: () => Promise<HttpApi>,
  ) {}

  get id(): string {
    return this.calendar.id;
  }

  get isLongAndLive(): boolean {
    return this.#isLong && this.calendar.snapshot.isLive;
  }

  /** Rejects where the rest of a long calendar can't be listed. */
  async onMessage(type: string, payload: Payload): Promise<void> {
    if (type === "CHILDREN") return this.#onChildren(payload);
    const item = summaryOf((payload.item ?? payload) as Payload);
    this.#items.set(keyOf(item.type, item.id), type === "CHILD_CHANGED" ? item : null);
    this.#show(true);
  }

  /** `is_live`: another tab tells it, as it stands there. */
  async #onChildren({ items, next, is_live: isLive = true }: Payload): Promise<void> {
    const told = itemsOf((items as Payload[]).map(summaryOf));
    this.#items = told;
    this.#isLong = !!next;
    this.#show(isLive === true);
    if (!next) return;
    const rest = await this.#fetch(String(next));
    if (told !== this.#items) return; // it was told anew
    this.#items = new Map([...rest, ...told]); // what was told meanwhile is newer
    this.#show(this.calendar.snapshot.isLive);
  }

  /** As of now, over HTTP. Rejects where there is no answer. */
  async poll(): Promise<void> {
    let items: Items;
    try {
      items = await this.#fetch();
    } catch (error) {
      if (!(error instanceof RequestError) || error.isPassing) throw error;
      if (error.code === "FORBIDDEN" || error.status === 400) this.onForbidden(); // as by socket
      return;
    }
    if (this.calendar.snapshot.isLive) return; // what the server has told meanwhile is newer
    this.#items = items;
    this.#show(false);
  }

  /** From where a page ended, or from the beginning. */
  async #fetch(after?: string): Promise<Items> {
    const items = await (await this.http()).events(this.id, after);
    this.failures = 0;
    return itemsOf(items);
  }

  onForbidden(): void {
    this.#items = new Map();
    this.calendar.update({ status: "forbidden", items: [], isLive: false });
  }

  onOffline(): void {
    this.calendar.update({ isLive: false });
  }

  #show(isLive: boolean): void {
    const items = [...this.#items.values()].filter((item) => item !== null).sort(byStart);
    this.calendar.update({ status: "ready", items, isLive });
  }
}

const itemsOf = (items: readonly Summary[]): Items =>
  new Map(items.map((item) => [keyOf(item.type, item.id), item]));
