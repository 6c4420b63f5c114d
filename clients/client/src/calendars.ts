/** A calendar as the application holds it, and some events by name as summaries that stay up to date. */

import type { Calendar, CalendarSnapshot, Client, SharedDocument, Summaries, Summary } from "./api.js";
import { Cell } from "./cell.js";
import { summaryOf } from "./wire.js";

/** What it shows comes from its listing (listings.ts), which is loaded with the first calendar. */
export class LiveCalendar extends Cell<CalendarSnapshot> implements Calendar {
  /** So many calls of `calendar` aren't closed yet. */
  holders = 0;

  constructor(
    readonly id: string,
    readonly close: () => void,
  ) {
    super({ status: "loading", items: [], isLive: false });
  }
}

/** The events with these ids as summaries that stay up to date. Each is opened, until `close` is called. */
export function eventsOf(client: Client, ids: readonly string[]): Summaries {
  const documents = ids.map((id) => client.open<Partial<Summary>>("event", id));
  const cell = new Cell(summed(documents));
  const ends = documents.map((document) => document.subscribe(() => cell.update(summed(documents))));
  const close = () => {
    for (const end of ends) end();
    for (const document of documents.splice(0)) document.close();
  };
  return Object.assign(cell, { close });
}

function summed(documents: readonly SharedDocument<Partial<Summary>>[]): CalendarSnapshot {
  const items = documents.flatMap(({ type, id, snapshot: { view, version } }) =>
    view ? [summaryOf({ ...view, resource_type: type, resource_id: id, version })] : [],
  );
  return {
    status: documents.some(({ snapshot }) => snapshot.status === "loading") ? "loading" : "ready",
    items: items.sort(byStart),
    isLive: documents.every(({ snapshot }) => snapshot.isLive),
  };
}

/** The order of lists: by the instant of the start, those without one last, then by id. */
export function byStart(one: Summary, other: Summary): number {
  return startOf(one) - startOf(other) || (one.id < other.id ? -1 : 1);
}

/** Two without a start differ by NaN. */
function startOf({ start_time }: Summary): number {
  const start = Date.parse(start_time ?? "");
  return start > -Infinity ? start : Infinity;
}
