/** Events that were changed here, as they are here: each is open as long as it is wanted. */

import type { Client, Readable, Summary } from "@collab/client";
import { CALENDAR, type EventDocument, type SharedEvent } from "./event.js";

/** By id. Null is one that isn't in the calendar (any more); what isn't known yet is left out. */
export type Own = ReadonlyMap<string, Summary | null>;

export class OwnEvents implements Readable<Own> {
  #closing = new Map<string, () => void>();
  #snapshot: Own = new Map();
  #listeners = new Set<() => void>();

  constructor(private readonly client: Client) {}

  get snapshot(): Own {
    return this.#snapshot;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** These are wanted, and no others. */
  want(ids: readonly string[]): void {
    for (const [id, close] of this.#closing) {
      if (ids.includes(id)) continue;
      close();
      this.#closing.delete(id);
      this.#note(id, undefined);
    }
    for (const id of ids) this.open(id);
  }

  open(id: string): void {
    if (this.#closing.has(id)) return;
    const document = this.client.open<EventDocument>("event", id);
    const look = () => this.#note(id, summed(document));
    const end = document.subscribe(look);
    this.#closing.set(id, () => {
      end();
      document.close();
    });
    look();
  }

  #note(id: string, event: Summary | null | undefined): void {
    if (JSON.stringify(event) === JSON.stringify(this.#snapshot.get(id))) return;
    const known = new Map(this.#snapshot);
    if (event === undefined) known.delete(id);
    else known.set(id, event);
    this.#snapshot = known;
    for (const listener of this.#listeners) listener();
  }
}

/** Live, the gateway tells so many characters of a text, and nothing of what isn't one. */
const TOLD_MAX = 300;

function summed({ type, id, snapshot }: SharedEvent): Summary | null | undefined {
  const { status, view, version } = snapshot;
  if (status === "loading") return undefined;
  if (view?.calendar_id !== CALENDAR) return null;
  const { title, start_time, end_time } = view;
  return { type, id, version, title: told(title), start_time: told(start_time), end_time: told(end_time) };
}

/** A member of a summary, as it is told live. */
export function told(value: unknown): string | null {
  if (typeof value !== "string") return null;
  return [...value.slice(0, 2 * TOLD_MAX)].slice(0, TOLD_MAX).join(""); // a character is one or two of JavaScript's
}
