/** Which days an event is on. */

import type { Summary } from "@collab/client";
import { hourOf, midnightOf } from "./dates.js";

interface Span {
  readonly from: Date;
  readonly to: Date;
}

/** Null where it has no start; it lasts no time where its end is missing, or before that. */
function spanOf({ start_time, end_time }: Summary): Span | null {
  const from = Date.parse(start_time ?? "");
  if (Number.isNaN(from)) return null;
  const to = Date.parse(end_time ?? "");
  return { from: new Date(from), to: new Date(Number.isNaN(to) ? from : Math.max(from, to)) };
}

/** Midnight, and the next one. */
type Day = readonly [begins: Date, ends: Date];

/** What ends at midnight isn't on the day that begins then. */
function isOn({ from, to }: Span, [begins, ends]: Day): boolean {
  return from < ends && (to > begins || from >= begins);
}

/** What is shown of an event on a day. */
export interface Appearance {
  readonly event: Summary;
  /** `all day` where it takes all of it, else its hour where it begins, and `–12:00` where it ends. */
  readonly time: string;
  /** How a time with a dash is read out. */
  readonly said?: string;
}

const ALL_DAY = "all day";

/** Of each of these days its events: those that take all of it, then the others, each in their order. */
export function appearances(
  events: readonly Summary[],
  days: readonly Date[],
): Map<Date, readonly Appearance[]> {
  const spans = events.map((event) => ({ event, span: spanOf(event) }));
  const on = (day: Day) =>
    spans.flatMap(({ event, span }) => (span && isOn(span, day) ? [{ event, ...timesOn(span, day) }] : []));
  return new Map(days.map((day) => [day, allDayFirst(on([day, midnightOf(day, 1)]))]));
}

function allDayFirst(shown: readonly Appearance[]): readonly Appearance[] {
  const takesAll = ({ time }: Appearance) => time === ALL_DAY;
  return [...shown.filter(takesAll), ...shown.filter((one) => !takesAll(one))];
}

function timesOn({ from, to }: Span, [begins, ends]: Day): Omit<Appearance, "event"> {
  if (from <= begins && to >= ends) return { time: ALL_DAY };
  if (from >= begins) return { time: hourOf(from) };
  return { time: `–${hourOf(to)}`, said: `until ${hourOf(to)}` };
}
