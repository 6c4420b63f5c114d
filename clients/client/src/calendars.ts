/** A calendar's events as summaries that stay up to date: told by the server, or listed over HTTP. */

import type { Calendar, CalendarSnapshot, Summary } from "./api.js";
import { Cell } from "./cell.js";
import { RequestError } from "./errors.js";
import type { HttpApi } from "./http.js";
import { keyOf, type Payload, summaryOf } from "./wire.js";

const PAGE = 200;

export class LiveCalendar extends Cell<CalendarSnapshot> implements Calendar {
  #items = new Map<string, Summary>();

  constructor(
    readonly id: string,
    private readonly http: () => Promise<HttpApi>,
    readonly close: () => void,
  ) {
    super({ status: "loading", items: [], isLive: false });
  }

  // For the client only

  onMessage(type: string, payload: Payload): void {
    if (type === "CHILDREN") {
      if (!this.snapshot.isLive) this.#items.clear();
      for (const item of payload.items as Payload[]) this.#put(summaryOf(item));
      if (payload.next !== undefined && payload.next !== null) void this.#fetch(String(payload.next));
      this.#show(true);
    } else {
      const item = summaryOf((payload.item ?? payload) as Payload);
      if (type === "CHILD_CHANGED") this.#put(item);
      else this.#items.delete(keyOf(item.type, item.id));
      this.#show(true);
    }
  }

  /** As of now, over HTTP. Rejects where there is no answer. */
  async poll(): Promise<void> {
    this.#items.clear();
    await this.#fetch();
  }

  async #fetch(start?: string): Promise<void> {
    let after: string | null = start ?? null;
    try {
      do {
        const page = await (await this.http()).list("event", {
          calendarId: this.id,
          limit: PAGE,
          ...(after ? { after } : {}),
        });
        for (const item of page.items) this.#put(item);
        after = page.next;
      } while (after);
      this.#show(this.snapshot.isLive);
    } catch (error) {
      if (!(error instanceof RequestError) || error.status >= 500) throw error;
      if (error.status === 403) this.onForbidden();
    }
  }

  onForbidden(): void {
    this.#items.clear();
    this.update({ status: "forbidden", items: [], isLive: false });
  }

  onOffline(): void {
    this.update({ isLive: false });
  }

  #put(item: Summary): void {
    this.#items.set(keyOf(item.type, item.id), item);
  }

  #show(isLive: boolean): void {
    const items = [...this.#items.values()].sort(byStart);
    this.update({ status: "ready", items, isLive });
  }
}

const byStart = (one: Summary, other: Summary): number =>
  order(one.start_time ?? "", other.start_time ?? "") || order(one.id, other.id);

const order = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);
