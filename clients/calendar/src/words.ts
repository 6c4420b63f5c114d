/** What a change did, in words. */

import { type HistoryEntry, type Json, type Patch, type PatchOperation, valueAt } from "@collab/client";
import { dayOf, daysText, endFrom, hourOf, isOfDays, momentOf, shortDay } from "./dates.js";
import { type Attendee, answerOf, type EventDocument, labelOf, textOf } from "./event.js";
import { isOfLine } from "./lines.js";
import { changed } from "./past.js";

/** Why an event can't end then. */
export const TURNED = "The end can’t be before the start.";
/** Why it can't be that time. */
export const SKIPPED = "There is no such hour on that day: clocks are put forward.";
/** Why it can't start then. */
export const TOO_LATE = "It would end after the year 9999.";

const PLAIN: readonly (readonly [RegExp, string])[] = [
  [
    /end_time .* must not be before start_time/,
    `${TURNED} It was moved meanwhile, and this change isn’t kept.`,
  ],
  [/^It is too long\.$/, "That is too long to be sent at once, and isn’t kept."],
  [
    /would exceed \d+ bytes/,
    "There is no room for that in the event, and it isn’t kept. Shorten or remove something first.",
  ],
];

/** What the gateway or the client says, as far as it is known how to say that to people. */
export const inPlainWords = (message: string): string =>
  PLAIN.find(([pattern]) => pattern.test(message))?.[1] ?? message;

/** Where a change says more beside what was there before it. */
const COMPARED = /^\/(start_time|end_time|attendees)(\/|$)/;

/** So does what somebody typed, or brought back, in a short text: the whole of it, whatever else was done to it. */
const linesTyped = (operations: Patch): string[] =>
  operations.filter((operation) => operation.op === "text" && isOfLine(operation)).map(({ path }) => path);

/**
 * The version that a change is told beside; null where there is no need of one. Of typing that is told as one there are
 * the last operations alone, which fit what was there right before them.
 */
export function comparedWith({
  operations,
  version,
  oldest,
}: Pick<HistoryEntry, "operations" | "version" | "oldest">): number | null {
  if (linesTyped(operations).length) return version - 1;
  return operations.some(({ path }) => COMPARED.test(path)) ? oldest - 1 : null;
}

type Change = Pick<HistoryEntry, "userId" | "operations" | "undoes">;

const NOTHING_LEFT = "a change of which nothing was left";

/** "moved from 10:00 to 11:00 (Mon 5 Jan)". `before`: the event before it, where it is known. */
export function describe(change: Change, before: EventDocument | null): string {
  const { operations, undoes } = change;
  const differences = before && compared(change, before);
  const lines = linesTyped(operations);
  const isOther = ({ path }: PatchOperation) => !COMPARED.test(path) && !lines.includes(path);
  const others = differences ? operations.filter(isOther) : operations;
  const all = [...(differences ?? []), ...others.map(words)];
  const said = [...new Set(all.length ? all : operations.map(words))].join(", ");
  return undoes === null ? said || `made ${NOTHING_LEFT}` : `took back: ${said || NOTHING_LEFT}`;
}

/** Null where the change doesn't fit what was there, or left nothing of it. */
function compared({ operations, userId }: Change, before: EventDocument): string[] | null {
  try {
    const after = changed(before, operations);
    return (
      after && [
        ...timesOf(before, after),
        ...attendeesOf(before.attendees, after.attendees, userId),
        ...linesTyped(operations).map((path) => lineOf(path, after)),
      ]
    );
  } catch {
    return null;
  }
}

const lineOf = (path: string, after: EventDocument): string =>
  words({ op: "replace", path, value: valueAt(after as unknown as Json, path) ?? "" });

function timesOf(before: EventDocument, after: EventDocument): string[] {
  const names = (["start_time", "end_time"] as const).filter((name) => before[name] !== after[name]);
  if (!names.length) return [];
  const [was, is] = [spanOf(before), spanOf(after)];
  const isMoved = names[0] === "start_time" && isAsLong(was, is);
  if (isOfDays(...was) && isOfDays(...is))
    return [`${isMoved ? "moved" : "changed the days"} from ${daysText(...was)} to ${daysText(...is)}`];
  if (isMoved) return [`moved ${fromTo(before.start_time, after.start_time)}`];
  return names.map((name) => timeOf(labelOf(`/${name}`), before[name], after[name]));
}

type Span = readonly [from: Date, to: Date];

/** No time where one is missing. */
const spanOf = ({ start_time, end_time }: EventDocument): Span => [
  new Date(start_time ?? ""),
  new Date(end_time ?? ""),
];

/** To the millisecond, or in days and what is left of one: where clocks change a day is longer or shorter. */
const isAsLong = ([from, to]: Span, [begins, ends]: Span): boolean =>
  ends.getTime() - begins.getTime() === to.getTime() - from.getTime() ||
  ends.getTime() === endFrom(begins, from, to);

function timeOf(label: string, before: string | undefined, after: string | undefined): string {
  if (after === undefined) return `removed ${label}`;
  return before === undefined
    ? `set ${label} to ${textOf("/start_time", after)}`
    : `changed ${label} ${fromTo(before, after)}`;
}

/** The day once, where it is one. */
function fromTo(before = "", after = ""): string {
  const [from, to] = [new Date(before), new Date(after)];
  if (dayOf(from) === dayOf(to)) return `from ${hourOf(from)} to ${hourOf(to)} (${shortDay(to)})`;
  return `from ${momentOf(from)} to ${momentOf(to)}`;
}

type Attendees = EventDocument["attendees"];

function attendeesOf(before: Attendees = [], after: Attendees = [], author: string): string[] {
  const was = new Map(before.map(({ user_id, response_status }) => [user_id, response_status]));
  const is = new Set(after.map(({ user_id }) => user_id));
  return [
    ...before.filter(({ user_id }) => !is.has(user_id)).map(({ user_id }) => `removed ${user_id}`),
    ...after
      .filter(({ user_id, response_status }) => was.get(user_id) !== response_status)
      .map((attendee) => attendeeOf(attendee, was.has(attendee.user_id), author)),
  ];
}

function attendeeOf({ user_id, response_status }: Attendee, wasThere: boolean, author: string): string {
  const answer = `“${answerOf(response_status)}”`;
  if (user_id === author) return `answered ${answer}`;
  if (wasThere) return `set the answer of ${user_id} to ${answer}`;
  return response_status === "NEEDS_ACTION" ? `invited ${user_id}` : `invited ${user_id}: ${answer}`;
}

function words(operation: PatchOperation): string {
  const label = labelOf(operation.path);
  if (operation.op === "text") return `typed in ${label}`;
  if ("value" in operation && operation.value === "") return `emptied ${label}`;
  if (operation.op === "remove")
    return `removed ${operation.path.includes("/", 1) ? `part of ${label}` : label}`;
  if (operation.path === "" && (operation.op === "add" || operation.op === "replace"))
    return operation.value === null ? "deleted the event" : "wrote the event";
  if ("value" in operation && typeof operation.value === "string")
    return `set ${label} to “${shown(operation)}”`;
  return `changed ${label}`;
}

/** What is left of a character that was cut. */
const HALF = /[\ud800-\udbff]$/;

function shown({ path, value }: { path: string; value?: unknown }): string {
  const text = textOf(path, value);
  return text.length > 60 ? `${text.slice(0, 59).replace(HALF, "")}…` : text;
}
