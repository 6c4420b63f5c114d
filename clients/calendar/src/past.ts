/**
 * Events as they were at a version. To go to one is dear, to read the changes since isn't: those that are asked for
 * together are found by one way through these, as far as they aren't far apart.
 */

import type { HistoryEntry, Json, Patch } from "@collab/client";
import { apply, lower } from "@collab/client/kernel";
import type { EventDocument, SharedEvent } from "./event.js";

type Event = EventDocument | null;

/** So many versions of an event are remembered. */
const VERSIONS_MAX = 100;
/** From where one is, so many changes are read rather than another version is gone to. */
const WAY_MAX = 500;

const remembered = new WeakMap<SharedEvent, Past>();

/** Null where there was none, or it isn't kept. Rejects where it can't be known now; then it is asked for again. */
export function eventAt(document: SharedEvent, version: number): Promise<Event> {
  const past = remembered.get(document) ?? new Past(document);
  remembered.set(document, past);
  return past.at(version);
}

/** What a change makes of an event; throws where it doesn't fit. A patch of a user's may have become longer. */
export function changed(event: Event, operations: Patch): Event {
  const json = event as unknown as Json;
  return apply(json, lower(json, operations, {}, null)) as unknown as Event;
}

interface Version {
  readonly version: number;
  readonly event: Event;
}

const NOTHING: Version = { version: 0, event: null };

/** Through the changes, from the lowest version that is asked for to the highest. */
interface Way {
  readonly low: number;
  high: number;
}

/** The ways by which versions are found, the lowest first. */
function waysBy(versions: readonly number[]): readonly Way[] {
  const ways: Way[] = [];
  for (const version of [...versions].sort((one, other) => one - other)) {
    const last = ways.at(-1);
    if (last && version - last.high <= WAY_MAX) last.high = version;
    else ways.push({ low: version, high: version });
  }
  return ways;
}

class Past {
  #versions = new Map<number, Promise<Event>>();
  #asked: number[] = [];
  #finding: Promise<ReadonlyMap<number, Event>> | null = null;
  #newest = NOTHING; // of those that were found

  constructor(private readonly document: SharedEvent) {}

  at(version: number): Promise<Event> {
    const past = this.#versions.get(version) ?? this.#ask(version);
    this.#versions.delete(version);
    this.#versions.set(version, past); // as the last one that is forgotten
    for (const oldest of [...this.#versions.keys()].slice(0, -VERSIONS_MAX)) this.#versions.delete(oldest);
    return past;
  }

  async #ask(version: number): Promise<Event> {
    this.#asked.push(version);
    this.#finding ??= this.#find();
    try {
      return (await this.#finding).get(version) ?? null;
    } catch (error) {
      this.#versions.delete(version);
      throw error;
    }
  }

  async #find(): Promise<ReadonlyMap<number, Event>> {
    await null; // all that are shown at once are asked for by then
    const ways = waysBy(this.#asked.splice(0));
    this.#finding = null;
    const found = new Map<number, Event>();
    try {
      for (const way of ways) await this.#walk(way, found);
      return found;
    } catch (error) {
      this.#newest = NOTHING; // of another history, it may be
      throw error;
    }
  }

  /** Finds all versions of a way, as far as they are kept. */
  async #walk({ low, high }: Way, found: Map<number, Event>): Promise<void> {
    const { version: near } = this.#newest;
    const from = near <= low && low - near <= WAY_MAX ? near : low;
    const changes = await this.#changes(from, high);
    const first = changes[0]?.version ?? from + 1;
    let { version, event } = await this.#begin(first > from + 1 ? first : from);
    found.set(version, event);
    for (const change of changes) {
      if (change.version <= version) continue;
      event = changed(event, change.operations);
      version = change.version;
      found.set(version, event);
    }
    if (version >= near) this.#newest = { version, event };
  }

  async #begin(version: number): Promise<Version> {
    if (version === this.#newest.version) return this.#newest;
    return { version, event: (await this.document.at(version)).document };
  }

  /** Oldest first. */
  async #changes(after: number, upTo: number): Promise<readonly HistoryEntry[]> {
    const query = { from: after + 1, before: upTo + 1, limit: upTo - after };
    const { entries } = await this.document.history(query);
    return [...entries].reverse();
  }
}
