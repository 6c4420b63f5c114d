/** An event that was deleted while one edited it: all that one wrote is one question, and keeping it brings the event back. */

import type { Conflict, Json } from "@collab/client";
import { PatchError } from "@collab/client/kernel";
import { DELETED, type EventDocument } from "./event.js";
import { changed } from "./past.js";

type Event = EventDocument | null;

/** What one wrote into an event that is gone: at least one thing. */
export type Lost = readonly [Conflict, ...Conflict[]];

export const isAny = (lost: readonly Conflict[]): lost is Lost => lost.length > 0;

/** Nothing where the event is there. */
export const lostWith = (view: Event, conflicts: readonly Conflict[]): readonly Conflict[] =>
  view === null ? conflicts.filter(isLost) : [];

/** What it was written in is no more. */
const isLost = ({ path, kind, version, theirs, omitted }: Conflict): boolean =>
  path !== "" &&
  kind === "dropped" &&
  version !== null &&
  theirs === undefined &&
  !omitted.includes("theirs");

/** The last that one was told of, which took all the rest with it. */
const deletionOf = (lost: readonly Conflict[]): Conflict =>
  lost.reduce((last, one) => (versionOf(one) > versionOf(last) ? one : last));

const versionOf = ({ version }: Conflict): number => version ?? 0;

/** The event's last before it was deleted. */
export const versionBefore = (lost: Lost): number => versionOf(deletionOf(lost)) - 1;

/** The question about all of it; `before` is null as long as it isn't known. */
export function askedOf(lost: Lost, before: Event): Conflict {
  const { id } = lost[0];
  const told = { omitted: [], mine: excerpt(withMine(before ?? {}, lost), lost), theirs: null };
  const base = before ? excerpt(before, lost) : undefined;
  return { ...deletionOf(lost), ...told, id, path: DELETED, base };
}

/** What it is called, and what one wrote in. */
function excerpt(event: EventDocument, lost: readonly Conflict[]): Json {
  const members = new Set(["title", ...lost.map(({ path }) => path.split("/")[1])]);
  return Object.fromEntries(Object.entries(event).filter(([name]) => members.has(name)));
}

/** An event with all that one wrote, as far as there is a place for it. */
export const withMine = (event: EventDocument, lost: readonly Conflict[]): EventDocument =>
  lost.reduce((kept, { path, mine }) => (mine === undefined ? kept : written(kept, path, mine)), event);

function written(event: EventDocument, path: string, value: Json): EventDocument {
  for (const op of ["replace", "add"] as const) {
    try {
      return changed(event, [{ op, path, value }]) ?? event;
    } catch (error) {
      if (!(error instanceof PatchError)) throw error;
    }
  }
  return event;
}
