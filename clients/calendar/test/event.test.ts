/** An event's first time, and its members' names. */

import { expect, test } from "vitest";
import { dayOf, shortDay } from "../src/dates.js";
import { answerOf, fieldOf, firstStart, labelOf, textOf } from "../src/event.js";

const begins = (day: Date, now: Date) => {
  const start = firstStart(day, now);
  return [dayOf(start), start.getHours(), start.getMinutes()];
};

test("an event begins on its day: at nine, today at the next full hour, and at 23 where there is none", () => {
  const midnight = new Date(2026, 0, 31);
  expect(begins(midnight, new Date(2026, 0, 30, 14, 20))).toEqual(["2026-01-31", 9, 0]);
  expect(begins(midnight, new Date(2026, 0, 31, 14, 20))).toEqual(["2026-01-31", 15, 0]);
  const late = new Date(2026, 0, 31, 23, 5);
  expect(begins(late, late)).toEqual(["2026-01-31", 23, 0]);
});

test("a member has a name on the page and one within a sentence; one that isn't known goes by its own", () => {
  expect([fieldOf("attendees"), labelOf("/attendees/0")]).toEqual(["Attendees", "who comes"]);
  expect([fieldOf("color"), labelOf("/color")]).toEqual(["color", "color"]);
  expect(labelOf("")).toBe("the event");
});

test("what is no answer isn't shown as one, whatever it is called", () => {
  expect(answerOf("TENTATIVE")).toBe("Maybe");
  for (const status of ["NEEDS_ACTION", "constructor", "__proto__", undefined, { toString: 1 }])
    expect(answerOf(status)).toBe("no answer yet");
});

test("of an event as a whole all that people wrote is shown, or that it was deleted", () => {
  const attendees = [{ user_id: "ann", response_status: "ACCEPTED" }];
  const whole = { title: "Lunch", location: "", description: "Bring cake", attendees };
  expect([whole, { title: "" }, null].map((value) => textOf("", value))).toEqual([
    "Lunch\nBring cake\nann: Going",
    "Untitled",
    "deleted",
  ]);
  expect(textOf("", { title: "Lunch", start_time: "2021-05-06T10:00" })).toContain("2021");
});

test("what takes whole days has no hours: its first day is said, and its last one", () => {
  const when = (start: string, end: string) => textOf("/when", { start_time: start, end_time: end });
  const [one, several, hours, none] = [
    when("2021-05-06T00:00", "2021-05-07T00:00"),
    when("2021-05-06T00:00", "2021-05-09T00:00"),
    when("2021-05-06T00:00", "2021-05-07T10:00"),
    when("2021-05-06T00:00", "2021-05-06T00:00"),
  ];
  expect(one).toBe(`${shortDay(new Date(2021, 4, 6))}, all day`);
  expect(several).toBe(`${shortDay(new Date(2021, 4, 6))} – ${shortDay(new Date(2021, 4, 8))}, all day`);
  for (const other of [hours, none]) expect(other).not.toContain("all day");
});

test("of two times, which are one question, the day is said once, and what is missing isn't", () => {
  const [start_time, end_time, next] = ["2021-05-06T10:00", "2021-05-06T11:00", "2021-05-07T11:00"];
  const count = (value: object) => textOf("/when", value).split("2021").length - 1;
  expect([{ start_time, end_time }, { start_time, end_time: next }, { end_time: next }].map(count)).toEqual([
    1, 2, 1,
  ]);
});
