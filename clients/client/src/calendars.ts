/** A calendar's events as summaries that stay up to date: told by the server, or listed over HTTP. */

import type { Calendar, CalendarSnapshot, Summary } from "./api.js";
import { Cell } from "./cell.js";
import { RequestError } from "./errors.js";
import type { HttpApi } from "./http.js";
import { keyOf, type Payload, summaryOf } from "./wire.js";

const PAGE = 200;

export class LiveCalendar extends Cell<CalendarSnapshot> implements Calendar {
  #items = new Map<string, Summary>();
  /** Times in a row that the rest of it could not be listed. */
  failures = 0;

  constructor(
    readonly id: string,
    private readonly http: () => Promise<HttpApi>,
    readonly close: () => void,
  ) {
    super({ status: "loading", items: [], isLive: false });
  }

  // For the client only

  /** Rejects where the rest of a long calendar can't be listed. */
  async onMessage(type: string, payload: Payload): Promise<void> {
    if (type === "CHILDREN") return this.#onChildren(payload);
    const item = summaryOf((payload.item ?? payload) as Payload);
    if (type === "CHILD_CHANGED") put(this.#items, item);
    else this.#items.delete(keyOf(item.type, item.id));
    this.#show(true);
  }

  /** `is_live`: another tab tells it, as it stands there. */
  async #onChildren({ items, next, is_live: isLive = true }: Payload): Promise<void> {
    this.#items = new Map();
    for (const item of items as Payload[]) put(this.#items, summaryOf(item));
    this.#show(isLive === true);
    if (!next) return;
    await this.#fetch(this.#items, String(next));
    this.#show(this.snapshot.isLive);
  }

  /** As of now, over HTTP. Rejects where there is no answer. */
  async poll(): Promise<void> {
    const items = new Map<string, Summary>();
    try {
      await this.#fetch(items);
    } catch (error) {
      if (!(error instanceof RequestError) || error.isPassing) throw error;
      if (error.code === "FORBIDDEN") this.onForbidden();
      return;
    }
    if (this.snapshot.isLive) return; // what the server has told meanwhile is newer
    this.#items = items;
    this.#show(false);
  }

  /** Page by page from where a page ended, or from the beginning. */
  async #fetch(items: Map<string, Summary>, start?: string): Promise<void> {
    for (let after: string | null | undefined = start; after !== null; ) {
      const query = { calendarId: this.id, limit: PAGE, ...(after && { after }) };
      const page = await (await this.http()).list("event", query);
      for (const item of page.items) put(items, item);
      after = page.next;
    }
    this.failures = 0;
  }

  onForbidden(): void {
    this.#items.clear();
    this.update({ status: "forbidden", items: [], isLive: false });
  }

  onOffline(): void {
    this.update({ isLive: false });
  }

  #show(isLive: boolean): void {
    const items = [...this.#items.values()].sort(byStart);
    this.update({ status: "ready", items, isLive });
  }
}

const put = (items: Map<string, Summary>, item: Summary) => items.set(keyOf(item.type, item.id), item);

const byStart = (one: Summary, other: Summary): number =>
  order(one.start_time ?? "", other.start_time ?? "") || order(one.id, other.id);

const order = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);
