/** Which days an event is on. */

import { afterEach, expect, test, vi } from "vitest";
import { hourOf } from "../src/dates.js";
import { appearances } from "../src/days.js";

const local = (day: number, hour = 0) => new Date(2026, 0, day, hour);
const days = [1, 2, 3, 4, 5].map((day) => local(day));

afterEach(() => void vi.unstubAllEnvs());

/** The days of January that an event is on, and what is said there. */
function shown(start: Date | null, end: Date | null) {
  const event = {
    type: "event",
    id: "1",
    version: 1,
    title: "Trip",
    start_time: start?.toISOString() ?? null,
    end_time: end?.toISOString() ?? null,
  };
  return [...appearances([event], days)].flatMap(([day, on]) =>
    on.map(({ time, said }) => [day.getDate(), time, ...(said ? [said] : [])]),
  );
}

const hour = (of: number) => hourOf(local(1, of));

test("an event is on each of its days", () => {
  expect(shown(local(2, 10), local(2, 11))).toEqual([[2, hour(10)]]);
  expect(shown(local(2, 10), local(4, 12))).toEqual([
    [2, hour(10)],
    [3, "all day"],
    [4, `–${hour(12)}`, `until ${hour(12)}`],
  ]);
  expect(shown(new Date(2025, 11, 30), local(2, 8))).toEqual([
    [1, "all day"],
    [2, `–${hour(8)}`, `until ${hour(8)}`],
  ]);
});

test("what ends at midnight isn't on the next day, and what takes no time is on its own", () => {
  expect(shown(local(2, 22), local(3))).toEqual([[2, hour(22)]]);
  expect(shown(local(2), local(2))).toEqual([[2, hour(0)]]);
});

test("an end at Unix time 0 is one", () => {
  vi.stubEnv("TZ", "UTC");
  const [start_time, end_time] = ["1969-12-30T10:00:00Z", "1970-01-01T00:00:00Z"];
  const event = { type: "event", id: "1", version: 1, title: "Eve", start_time, end_time };
  const days = [30, 31, 32].map((day) => new Date(1969, 11, day));
  const on = appearances([event], days);
  expect([...on.values()].map((shown) => shown.length)).toEqual([1, 1, 0]);
});

test("what takes a whole day has no hour there, also where it begins or ends with it", () => {
  expect(shown(local(2), local(3))).toEqual([[2, "all day"]]);
  expect(shown(local(2), local(4))).toEqual([
    [2, "all day"],
    [3, "all day"],
  ]);
  expect(shown(local(2), local(3, 12))).toEqual([
    [2, "all day"],
    [3, `–${hour(12)}`, `until ${hour(12)}`],
  ]);
  expect(shown(local(2), local(2, 23))).toEqual([[2, hour(0)]]);
});

test("what has no end, or one before its start, is on the day it starts; what has no start is nowhere", () => {
  expect(shown(local(2, 10), null)).toEqual([[2, hour(10)]]);
  expect(shown(local(2, 10), local(1, 10))).toEqual([[2, hour(10)]]);
  expect(shown(null, local(2, 10))).toEqual([]);
});

test("what takes all of a day stands before what came over midnight, and the rest is in order", () => {
  const of = (id: string, start: Date, end: Date) => {
    const times = { start_time: start.toISOString(), end_time: end.toISOString() };
    return { type: "event", id, version: 1, title: id, ...times };
  };
  const events = [
    of("party", local(1, 22), local(2, 2)),
    of("trip", local(2), local(3)),
    of("lunch", local(2, 12), local(2, 13)),
  ];
  const second = appearances(events, days).get(days[1] as Date) ?? [];
  expect(second.map(({ event }) => event.id)).toEqual(["trip", "party", "lunch"]);
});
