/** An event's conflicts as people decide them: when it starts and ends is one question, for it was moved as a whole. */

import type { Conflict, DocumentSnapshot, Json, Resolution, SharedDocument } from "@collab/client";
import { type EventDocument, WHEN } from "./event.js";

type Snapshot = DocumentSnapshot<EventDocument>;
type Side = "mine" | "theirs";

/** Of a document what asks about its conflicts. */
export class Conflicts implements Pick<SharedDocument<EventDocument>, "snapshot" | "subscribe" | "resolve"> {
  #from: Snapshot | null = null;
  #snapshot!: Snapshot;

  constructor(private readonly document: SharedDocument<EventDocument>) {}

  get snapshot(): Snapshot {
    const { snapshot } = this.document;
    if (snapshot !== this.#from) {
      this.#from = snapshot;
      this.#snapshot = { ...snapshot, conflicts: joined(snapshot.conflicts) };
    }
    return this.#snapshot;
  }

  subscribe(listener: () => void): () => void {
    return this.document.subscribe(listener);
  }

  /** Both times at once, for one alone may not fit the other; what older conflicts of theirs ask is past. */
  resolve(id: string, resolution: Resolution): void {
    const { conflicts } = this.document.snapshot;
    const times = timesAmong(conflicts);
    if (times?.[0].id !== id || typeof resolution !== "string") {
      this.document.resolve(id, resolution);
      return;
    }
    for (const one of conflicts)
      if (isOfTime(one) && !times.includes(one)) this.document.resolve(one.id, standing(one));
    this.document.resolve(
      times.map((one) => one.id),
      resolution,
    );
  }
}

type Times = readonly [start: Conflict, end: Conflict];

const isOfTime = ({ path }: Conflict): boolean => path === "/start_time" || path === "/end_time";

/** The newest of each; null where not both times are in conflict. */
function timesAmong(conflicts: readonly Conflict[]): Times | null {
  const [start, end] = ["/start_time", "/end_time"].map((path) =>
    conflicts.filter((one) => one.path === path).at(-1),
  );
  return start && end ? [start, end] : null;
}

function joined(conflicts: readonly Conflict[]): readonly Conflict[] {
  const times = timesAmong(conflicts);
  if (!times) return conflicts;
  const [start, end] = times;
  const both = (member: Side | "base"): Json | undefined =>
    start[member] === undefined && end[member] === undefined
      ? undefined
      : { start_time: start[member] ?? null, end_time: end[member] ?? null };
  const sides = { base: both("base"), mine: both("mine"), theirs: both("theirs") };
  const question = { ...end, ...start, path: WHEN, ...sides }; // with the problem of either
  return conflicts.flatMap((one) => (one === start ? [question] : isOfTime(one) ? [] : [one]));
}

/** The side that is in the event until somebody decides. */
const standing = ({ kind }: Conflict): Side => (kind === "overwrote" ? "mine" : "theirs");
