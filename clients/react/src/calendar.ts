/** The events of a calendar, or some events by name. */

import type { CalendarSnapshot, Client, Readable, SharedDocument, Summary } from "@collab/client";
import { useOpened, useReadable } from "./readable.js";

const LOADING: CalendarSnapshot = { status: "loading", items: [], isLive: false };

/** Summaries that stay up to date: of a calendar's events, or of the events with these ids. */
export function useCalendar(source: string | readonly string[]): CalendarSnapshot {
  const key = typeof source === "string" ? source : source.join(" ");
  const opened = useOpened<Readable<CalendarSnapshot> & { close(): void }>(key, (client) =>
    typeof source === "string" ? client.calendar(source) : new Events(client, source),
  );
  return useReadable(opened, LOADING);
}

/** Some events as one readable: each is opened, and closed with it. */
class Events implements Readable<CalendarSnapshot> {
  snapshot = LOADING;
  readonly #documents: readonly SharedDocument[];
  readonly #leave: readonly (() => void)[];
  readonly #listeners = new Set<() => void>();

  constructor(client: Client, ids: readonly string[]) {
    this.#documents = ids.map((id) => client.open("event", id));
    this.#leave = this.#documents.map((document) => document.subscribe(() => this.#changed()));
    this.#changed();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    for (const leave of this.#leave) leave();
    for (const document of this.#documents) document.close();
  }

  #changed(): void {
    const shown = this.#documents.filter(({ snapshot }) => snapshot.view !== null);
    this.snapshot = {
      status: this.#documents.some(({ snapshot }) => snapshot.status === "loading") ? "loading" : "ready",
      items: shown.map(summaryOf).sort(byStart),
      isLive: this.#documents.every(({ snapshot }) => snapshot.isLive),
    };
    for (const listener of this.#listeners) listener();
  }
}

function summaryOf({ type, id, snapshot }: SharedDocument): Summary {
  const { title = null, start_time = null, end_time = null } = snapshot.view as Partial<Summary>;
  return { type, id, version: snapshot.version, title, start_time, end_time };
}

function byStart(one: Summary, other: Summary): number {
  return keyOf(one) < keyOf(other) ? -1 : 1;
}

function keyOf({ start_time, id }: Summary): string {
  return `${start_time ?? ""} ${id}`;
}
