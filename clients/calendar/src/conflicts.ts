/** An event's conflicts as people decide them: when it starts and ends is one question, where it was moved as a whole. */

import {
  type Conflict,
  type DocumentSnapshot,
  type Json,
  type Resolution,
  type Strategies,
  valueAt,
} from "@collab/client";
import { apply, difference, emit, equal, lower, merge } from "@collab/client/kernel";
import { fitLine, fitText } from "./characters.js";
import { type EventDocument, isOfTime, LINE_MAX, labelOf, type SharedEvent, WHEN, writing } from "./event.js";
import { isOfLine, keepOnly, Lines, standing } from "./lines.js";
import { MovedOn } from "./moved-on.js";
import { eventAt } from "./past.js";
import { inPlainWords, TURNED } from "./words.js";

type Snapshot = DocumentSnapshot<EventDocument>;
type Event = EventDocument | null;
type Side = "mine" | "theirs";

/** Attendees are told apart by who they are, and descriptions merge. */
const STRATEGIES: Strategies = { "/description": "text", "/attendees": { set: "user_id" } };

/** Of a document what asks about its conflicts. */
export class Conflicts implements Pick<SharedEvent, "snapshot" | "subscribe" | "resolve"> {
  #from: Snapshot | null = null;
  #snapshot!: Snapshot;
  #listeners = new Set<() => void>();
  /** By the conflict: the event as the others had it, null as long as that isn't known. */
  #theirs = new Map<string, Event>();
  /** By the conflict: why it can't be answered so. */
  #problems = new Map<string, string>();
  /** Both wanted the same while an edit waited: refused or taken back, it leaves them with what differs. */
  #waited = new Set<string>();
  /** As it was looked at last. */
  #seen: Snapshot | null = null;
  readonly #lines: Lines;
  readonly #moved: MovedOn;

  constructor(private readonly document: SharedEvent) {
    this.#lines = new Lines(document);
    this.#moved = new MovedOn(document);
  }

  get snapshot(): Snapshot {
    const { snapshot } = this.document;
    if (snapshot !== this.#from) {
      this.#from = snapshot;
      this.#snapshot = { ...snapshot, conflicts: this.#questions(snapshot) };
    }
    return this.#snapshot;
  }

  subscribe(listener: () => void): () => void {
    const hear = () => {
      this.#look();
      listener();
    };
    const ends = [this.#moved.watch(), this.document.subscribe(hear), this.#lines.watch()];
    this.#listeners.add(listener);
    this.#seen = null;
    this.#look();
    return () => {
      this.#listeners.delete(listener);
      for (const end of ends) end();
    };
  }

  /** Both times at once, for one alone may not fit the other; what older conflicts of theirs ask is past. */
  resolve(id: string, chosen: Resolution): void {
    this.#problems.delete(id);
    const { view, canEdit } = this.document.snapshot;
    const conflicts = this.#told();
    const one = conflicts.find((conflict) => conflict.id === id);
    const resolution = one ? fit(one, chosen) : chosen;
    const times = timesAmong(conflicts);
    const asked = times?.[0].id === id ? times : one ? [one] : [];
    const isSide = typeof resolution === "string";
    if (one && resolution === "theirs" && canEdit && isLeftBehind(one, view)) this.#moveBack(one, view);
    else if (isSide && view && canEdit && this.#moved.isKnown(asked)) this.#moveOn(asked, resolution, view);
    else if (times?.[0].id === id && isSide) this.#resolveTimes(times, resolution);
    else if (one && resolution === "mine" && canEdit && isBack(one, view)) this.#bringIn(one, view);
    else if (one && isTooLong(one, resolution))
      this.#object(id, `At most ${LINE_MAX} characters fit into ${labelOf(one.path)}.`);
    else if (!this.#lines.resolve(id, resolution)) this.document.resolve(id, resolution);
  }

  /** As it is asked about: others may have moved it on. */
  #told(): readonly Conflict[] {
    return this.#moved.told(this.document.snapshot.conflicts);
  }

  /** Others moved it on since: what is chosen is written where it isn't there by now, as one edit. */
  #moveOn(asked: readonly Conflict[], side: Side, view: EventDocument): void {
    const now = view as unknown as Json;
    const patch = this.#moved.patchFor(asked, side, now);
    const { start_time, end_time } = apply(now, lower(now, patch)) as unknown as EventDocument;
    if (isBefore(end_time, start_time)) {
      this.#object((asked[0] as Conflict).id, TURNED);
      return;
    }
    this.document.edit(patch);
    const paths = asked.map(({ path }) => path);
    for (const one of this.document.snapshot.conflicts)
      if (paths.includes(one.path)) this.document.resolve(one.id, standing(one));
  }

  #resolveTimes(times: Times, side: Side): void {
    const ids = times.map((one) => one.id);
    for (const one of this.document.snapshot.conflicts)
      if (isOfTime(one.path) && !ids.includes(one.id)) this.document.resolve(one.id, standing(one));
    this.document.resolve(ids, side);
  }

  /** Their end is from before the event was moved: it goes back to where they had it. */
  #moveBack(one: Conflict, view: Event): void {
    const start = this.#theirs.get(one.id)?.start_time;
    if (start === undefined || one.theirs === undefined) {
      this.#object(one.id, TURNED);
      return;
    }
    this.document.edit([
      { op: "replace", path: "/start_time", value: start },
      writing("/end_time", view?.end_time, one.theirs),
    ]);
    this.document.resolve(one.id, standing(one));
  }

  /** Into the event that is there again go one's own changes, as one edit: what others wrote in it since stays. */
  #bringIn({ id, base = null, mine = null }: Conflict, view: Event): void {
    const now = view as unknown as Json;
    this.document.edit(emit(now, difference(now, broughtIn(base, mine, now))));
    this.document.resolve(id, "theirs");
  }

  #object(id: string, problem: string): void {
    this.#problems.set(id, problem);
    this.#tell();
  }

  #tell(): void {
    this.#from = null;
    for (const listener of this.#listeners) listener();
  }

  #look(): void {
    const { pending, view } = this.document.snapshot;
    this.#wait(this.document.snapshot);
    const conflicts = this.#told();
    if (!pending) {
      this.#lines.settle();
      for (const one of this.#settled(conflicts, view)) this.document.resolve(one.id, standing(one));
      for (const known of [this.#theirs, this.#problems, this.#waited]) keepOnly(known, conflicts);
      this.#moved.settle(conflicts);
    }
    this.#lookUp();
  }

  /** A version more that moves on what both wanted is somebody's who has seen it: that is neither refused nor taken back. */
  #wait(now: Snapshot): void {
    const before = this.#seen ?? now;
    this.#seen = now;
    const conflicts = this.#told();
    for (const one of agreed(conflicts)) {
      const last = lastAsked(conflicts, one);
      const isSame = isThere(last, now.view);
      if (isSame && now.pending) this.#waited.add(one.id);
      if (!isSame && isThere(last, before.view) && now.version > before.version) this.#waited.delete(one.id);
    }
  }

  /** When the event was, as the others had it, is looked up where their end alone says too little. */
  #lookUp(): void {
    const { view } = this.document.snapshot;
    for (const one of joined(this.#told())) {
      const { id, version } = one;
      if (this.#theirs.has(id) || version === null || !isLeftBehind(one, view)) continue;
      this.#theirs.set(id, null);
      eventAt(this.document, version).then(
        (event) => {
          this.#theirs.set(id, event);
          this.#problems.delete(id); // it can be answered now
          this.#tell();
        },
        () => this.#theirs.delete(id), // with the next change it is asked for again
      );
    }
  }

  /** Those that need no answer. */
  #settled(conflicts: readonly Conflict[], view: Event): readonly Conflict[] {
    const isStill = (one: Conflict) => !this.#waited.has(one.id) || isThere(lastAsked(conflicts, one), view);
    return agreed(conflicts).filter(isStill);
  }

  #questions({ view }: Snapshot): readonly Conflict[] {
    const conflicts = this.#told();
    const settled = this.#settled(conflicts, view);
    const asked = this.#lines.joined(conflicts).filter((one) => !settled.includes(one));
    const differing = agreed(conflicts);
    return joined(asked.map((one) => (differing.includes(one) ? asItIs(one, view) : one))).map((one) => {
      const problem = this.#problems.get(one.id) ?? (one.problem && inPlainWords(one.problem));
      const whole = isLeftBehind(one, view) ? this.#whole(one, view) : present(one, view);
      return problem ? { ...whole, problem } : whole;
    });
  }

  /** A question about the end as one about when the event is, once it is known when that was. */
  #whole(one: Conflict, view: Event): Conflict {
    const was = this.#theirs.get(one.id)?.start_time;
    if (was === undefined) return one;
    const { base, theirs } = one;
    const mine = standing(one) === "mine" ? view?.end_time : one.mine;
    const start = { base: was, mine: view?.start_time, theirs: was };
    return { ...one, path: WHEN, ...sides(start, { base, mine, theirs }) };
  }
}

type Times = readonly [start: Conflict, end: Conflict];
type Sides = { readonly [side in Side | "base"]: Json | undefined };

const newestAt = (conflicts: readonly Conflict[], path: string): Conflict | undefined =>
  conflicts.filter((one) => one.path === path).at(-1);

/** Of a time what counts is what was asked last. */
const lastAsked = (conflicts: readonly Conflict[], one: Conflict): Conflict =>
  (isOfTime(one.path) && newestAt(conflicts, one.path)) || one;

/** Where both want the same nobody is asked, but for what is refused. */
const agreed = (conflicts: readonly Conflict[]): readonly Conflict[] =>
  conflicts.filter((one) => {
    const { mine, theirs } = lastAsked(conflicts, one);
    const isSame = mine !== undefined && theirs !== undefined && equal(mine, theirs);
    return isSame && !isOfLine(one) && one.kind !== "refused";
  });

/** With what is in the event as mine. */
const asItIs = (one: Conflict, view: Event): Conflict => ({
  ...one,
  mine: valueAt(view as unknown as Json, one.path),
});

function isThere(one: Conflict, view: Event): boolean {
  if (one.kind !== "overwrote") return true;
  const { mine } = asItIs(one, view);
  return mine !== undefined && one.mine !== undefined && equal(mine, one.mine);
}

/** The newest of each; null where not both times are in conflict. */
function timesAmong(conflicts: readonly Conflict[]): Times | null {
  const [start, end] = ["/start_time", "/end_time"].map((path) => newestAt(conflicts, path));
  return start && end ? [start, end] : null;
}

function joined(conflicts: readonly Conflict[]): readonly Conflict[] {
  const times = timesAmong(conflicts);
  if (!times) return conflicts;
  const [start, end] = times;
  const question = { ...end, ...start, path: WHEN, ...sides(start, end) }; // with the problem of either
  return conflicts.flatMap((one) => (one === start ? [question] : isOfTime(one.path) ? [] : [one]));
}

function sides(start: Sides, end: Sides): Sides {
  const both = (side: keyof Sides): Json | undefined =>
    start[side] === undefined && end[side] === undefined
      ? undefined
      : { start_time: start[side] ?? null, end_time: end[side] ?? null };
  return { base: both("base"), mine: both("mine"), theirs: both("theirs") };
}

/** Is their end before the start that the event was moved to? */
const isLeftBehind = ({ path, theirs }: Conflict, view: Event): boolean =>
  path === "/end_time" && isBefore(theirs, view?.start_time);

const isBefore = (one: unknown, other: unknown): boolean =>
  Date.parse(String(one)) < Date.parse(String(other));

/** The event as it is now with one's own changes: of what both changed, mine. One time alone may not fit the other. */
function broughtIn(base: Json, mine: Json, now: Json): Json {
  const { patch, conflicts } = merge(base, now, mine, STRATEGIES);
  const merged = apply(mine, lower(mine, patch, STRATEGIES)) as EventDocument;
  const { start_time, end_time } = mine as EventDocument;
  const isMine = conflicts.some(({ path }) => isOfTime(path)) || isBefore(merged.end_time, merged.start_time);
  return { ...merged, ...(isMine && { start_time, end_time }) } as unknown as Json;
}

/** Is the event there again whose deletion one is asked about? */
const isBack = ({ path, theirs }: Conflict, view: Event): boolean =>
  path === "" && theirs === null && view !== null;

/** What the others have is by then the event as it is. */
const present = (one: Conflict, view: Event): Conflict =>
  isBack(one, view) ? { ...one, theirs: view as unknown as Json } : one;

/** What was merged, as its field would have taken it. */
function fit({ path }: Conflict, chosen: Resolution): Resolution {
  if (typeof chosen === "string" || typeof chosen.value !== "string") return chosen;
  return { value: path === "/description" ? fitText(chosen.value) : fitLine(chosen.value) };
}

/** For its field, which is a line. */
const isTooLong = (one: Conflict, resolution: Resolution): boolean =>
  isOfLine(one) && typeof resolution === "object" && String(resolution.value).length > LINE_MAX;
