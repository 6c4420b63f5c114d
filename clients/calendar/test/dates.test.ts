/** The days that a month's page shows. */

import { expect, test } from "vitest";
import { dayIn, dayOf, weeksOf } from "../src/dates.js";

const shown = (month: string) => {
  const days = weeksOf(month).flat().map(dayOf);
  return [days[0], days.at(-1), days.length];
};

test("a month is shown in whole weeks, from Monday to Sunday", () => {
  expect(shown("2026-11")).toEqual(["2026-10-26", "2026-12-06", 42]);
  expect(shown("2026-02")).toEqual(["2026-01-26", "2026-03-01", 35]);
});

test("a month of the first century is of that one, and so are those beside it", () => {
  expect(shown("0050-01")).toEqual(["0049-12-27", "0050-02-06", 42]);
  expect([-1, 0, 1].map((later) => dayOf(dayIn("0050-01", 1, later)))).toEqual([
    "0049-12-01",
    "0050-01-01",
    "0050-02-01",
  ]);
});
