/** A calendar's events as summaries that stay up to date: told by the server, or listed over HTTP; or some events by name. */

import type { Calendar, CalendarSnapshot, Client, SharedDocument, Summaries, Summary } from "./api.js";
import { Cell } from "./cell.js";
import { RequestError } from "./errors.js";
import type { HttpApi } from "./http.js";
import { keyOf, type Payload, summaryOf } from "./wire.js";

/** By name; null is one that was removed: a page that is on its way may have it still. */
type Items = Map<string, Summary | null>;

export class LiveCalendar extends Cell<CalendarSnapshot> implements Calendar {
  #items: Items = new Map();
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
    this.#items.set(keyOf(item.type, item.id), type === "CHILD_CHANGED" ? item : null);
    this.#show(true);
  }

  /** `is_live`: another tab tells it, as it stands there. */
  async #onChildren({ items, next, is_live: isLive = true }: Payload): Promise<void> {
    const told = itemsOf((items as Payload[]).map(summaryOf));
    this.#items = told;
    this.#show(isLive === true);
    if (!next) return;
    const rest = await this.#fetch(String(next));
    if (told !== this.#items) return; // it was told anew
    this.#items = new Map([...rest, ...told]); // what was told meanwhile is newer
    this.#show(this.snapshot.isLive);
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
    if (this.snapshot.isLive) return; // what the server has told meanwhile is newer
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
    this.update({ status: "forbidden", items: [], isLive: false });
  }

  onOffline(): void {
    this.update({ isLive: false });
  }

  #show(isLive: boolean): void {
    const items = [...this.#items.values()].filter((item) => item !== null).sort(byStart);
    this.update({ status: "ready", items, isLive });
  }
}

const itemsOf = (items: readonly Summary[]): Items =>
  new Map(items.map((item) => [keyOf(item.type, item.id), item]));

/** The events with these ids as summaries that stay up to date. Each is opened, until `close` is called. */
export function eventsOf(client: Client, ids: readonly string[]): Summaries {
  return new OpenEvents(ids.map((id) => client.open<Partial<Summary>>("event", id)));
}

class OpenEvents extends Cell<CalendarSnapshot> implements Summaries {
  readonly close: () => void;

  constructor(documents: readonly SharedDocument<Partial<Summary>>[]) {
    super(summed(documents));
    const ends = documents.map((document) => document.subscribe(() => this.update(summed(documents))));
    this.close = () => {
      for (const end of ends) end();
      for (const document of documents) document.close();
    };
  }
}

function summed(documents: readonly SharedDocument<Partial<Summary>>[]): CalendarSnapshot {
  const snapshots = documents.map(({ snapshot }) => snapshot);
  const items = documents.flatMap(({ type, id, snapshot: { view, version } }) =>
    view ? [summaryOf({ ...view, resource_type: type, resource_id: id, version })] : [],
  );
  return {
    status: snapshots.some(({ status }) => status === "loading") ? "loading" : "ready",
    items: items.sort(byStart),
    isLive: snapshots.every(({ isLive }) => isLive),
  };
}

/** The order of lists: by the instant of the start, those without one last, then by id. */
function byStart(one: Summary, other: Summary): number {
  return startOf(one) - startOf(other) || (one.id < other.id ? -1 : 1);
}

/** Two without a start differ by NaN. */
function startOf({ start_time }: Summary): number {
  const start = Date.parse(start_time ?? "");
  return Number.isNaN(start) ? Infinity : start;
}
