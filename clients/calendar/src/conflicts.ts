/** An event's conflicts as people decide them: when it starts and ends is one question, for it was moved as a whole. */

import type { Conflict, DocumentSnapshot, Json, PatchOperation, SharedDocument } from "@collab/client";
import { type EventDocument, WHEN, writing } from "./event.js";

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

  resolve(id: string, resolution: Side | { readonly value: Json }): void {
    const { conflicts, view } = this.document.snapshot;
    const times = timesAmong(conflicts);
    if (times?.[0].id === id && typeof resolution === "string") this.#settle(times, resolution, view);
    else this.document.resolve(id, resolution);
  }

  /** In one patch: the one time alone may not fit the other. */
  #settle(times: Times, side: Side, view: EventDocument | null): void {
    if (times.some((one) => standing(one) !== side))
      this.document.edit(times.flatMap((one) => chosen(one, side, view)));
    for (const one of times) this.document.resolve(one.id, standing(one));
  }
}

type Times = readonly [start: Conflict, end: Conflict];

/** Null where not both times are in conflict. */
function timesAmong(conflicts: readonly Conflict[]): Times | null {
  const [start, end] = ["/start_time", "/end_time"].map((path) => conflicts.find((one) => one.path === path));
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
  const question = { ...start, path: WHEN, base: both("base"), mine: both("mine"), theirs: both("theirs") };
  return conflicts.flatMap((one) => (one === start ? [question] : one === end ? [] : [one]));
}

/** The side that is in the event until somebody decides. */
const standing = ({ kind }: Conflict): Side => (kind === "overwrote" ? "mine" : "theirs");

function chosen(conflict: Conflict, side: Side, view: EventDocument | null): PatchOperation[] {
  const { path, [side]: value } = conflict;
  const before = view?.[path.slice(1) as "start_time" | "end_time"];
  if (value !== undefined) return [writing(path, before, value)];
  return before === undefined ? [] : [{ op: "remove", path }];
}
