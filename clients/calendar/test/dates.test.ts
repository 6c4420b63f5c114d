/** The days that a month's page shows. */

import { afterEach, expect, test, vi } from "vitest";
import {
  dayIn,
  dayOf,
  endFrom,
  englishFor,
  firstWeekday,
  hourOf,
  isMeant,
  isSkipped,
  midnightOf,
  momentsAt,
  twinOf,
  weeksOf,
} from "../src/dates.js";

const [SUNDAY, MONDAY, SATURDAY] = [0, 1, 6];

const shown = (month: string, first = MONDAY) => {
  const days = weeksOf(month, first)
    .flat()
    .map((day) => day && dayOf(day));
  return [days[0], days.at(-1), days.length];
};

test("weeks begin as a locale has it", () => {
  const first = ["en-GB", "de-DE", "en-US", "ja", "ar-EG"].map((locale) => firstWeekday(locale));
  expect(first).toEqual([MONDAY, MONDAY, SUNDAY, SUNDAY, SATURDAY]);
});

test("a date in English has the order of the reader's region, also of one without an English of its own", () => {
  const shown = (locale: string) => {
    const english = englishFor(new Intl.DateTimeFormat(locale, { hour: "numeric" }).resolvedOptions());
    return new Date(2026, 0, 5).toLocaleDateString(english, { day: "numeric", month: "long" });
  };
  const dayFirst = ["en-GB", "de-DE", "pt-BR", "es-MX", "fa-IR", "ar-EG"];
  expect(dayFirst.map(shown)).toEqual(dayFirst.map(() => "5 January"));
  const monthFirst = ["en", "en-US"];
  expect(monthFirst.map(shown)).toEqual(monthFirst.map(() => "January 5"));
});

test("a month is shown in whole weeks", () => {
  expect(shown("2026-11")).toEqual(["2026-10-26", "2026-12-06", 42]);
  expect(shown("2026-02")).toEqual(["2026-01-26", "2026-03-01", 35]);
  expect(shown("2026-02", SUNDAY)).toEqual(["2026-02-01", "2026-02-28", 28]);
  expect(shown("2026-02", SATURDAY)).toEqual(["2026-01-31", "2026-03-06", 35]);
});

test("a month of the first century is of that one, and so are those beside it", () => {
  expect(shown("0050-01")).toEqual(["0049-12-27", "0050-02-06", 42]);
  expect([-1, 0, 1].map((later) => dayOf(dayIn("0050-01", 1, later)))).toEqual([
    "0049-12-01",
    "0050-01-01",
    "0050-02-01",
  ]);
  expect(dayOf(midnightOf(dayIn("0050-01", 31), 1))).toBe("0050-02-01");
});

test("a time is meant once its year has four digits, and as long as every zone has it before the year 10000", () => {
  const times = [
    "0202-05-06T07:08",
    "2021-05-06T07:08",
    "9999-12-30T23:59",
    "9999-12-31T00:00",
    "20260-01-01T00:00",
    "",
  ];
  expect(times.filter(isMeant)).toEqual(["2021-05-06T07:08", "9999-12-30T23:59"]);
});

afterEach(() => void vi.unstubAllEnvs());

test.each([
  ["Pacific/Apia", "2011-12", ["2011-12-29", null, "2011-12-31", "2012-01-01"]],
  ["Pacific/Kiritimati", "1994-12", ["1994-12-29", "1994-12-30", null, "1995-01-01"]],
])("a day that %s left out is none, and each of the others is there once", (zone, month, last) => {
  vi.stubEnv("TZ", zone);
  const dates = weeksOf(month, MONDAY)
    .flat()
    .map((day) => day && dayOf(day));
  expect(dates).toHaveLength(35);
  expect(dates.slice(-4)).toEqual(last);
});

for (const [zone, ...moments] of [
  ["America/New_York", "2026-11-01T05:30:00.000Z", "2026-11-01T06:30:00.000Z"],
  ["Australia/Lord_Howe", "2026-04-04T14:45:00.000Z", "2026-04-04T15:15:00.000Z"], // by half an hour
] as const) {
  test(`of the two hours that look alike when clocks are put back each says which it is: ${zone}`, () => {
    vi.stubEnv("TZ", zone);
    const [one, other] = moments.map((moment) => new Date(moment)) as [Date, Date];
    expect(twinOf(one)).toEqual(other);
    expect(twinOf(other)).toEqual(one);
    expect(hourOf(one)).not.toBe(hourOf(other));
    const { length } = hourOf(new Date(2026, 0, 5, one.getHours(), one.getMinutes()));
    expect(hourOf(one).length).toBeGreaterThan(length);
    const two = (value: number) => String(value).padStart(2, "0");
    const local = `${dayOf(one)}T${two(one.getHours())}:${two(one.getMinutes())}`;
    expect(momentsAt(local)).toEqual([one, other]);
  });
}

test("an hour that clocks are put forward over isn't there", () => {
  vi.stubEnv("TZ", "America/New_York");
  const times = ["2026-03-08T01:59", "2026-03-08T02:00", "2026-03-08T02:59", "2026-03-08T03:00"];
  expect(times.filter(isSkipped)).toEqual(times.slice(1, 3));
  vi.stubEnv("TZ", "UTC");
  expect(times.filter(isSkipped)).toEqual([]);
});

test("an hour before clocks are put back, one after it, and those where they are put forward are there once", () => {
  vi.stubEnv("TZ", "America/New_York");
  const once = [
    "2026-11-01T00:59",
    "2026-11-01T02:00",
    "2026-03-08T01:30",
    "2026-03-08T03:00",
    "2026-07-01T01:30",
  ];
  for (const local of once) expect(momentsAt(local)).toEqual([new Date(local)]);
});

test.each([
  [
    "a day, to one that has 23 hours",
    "2026-03-02T00:00",
    "2026-03-03T00:00",
    "2026-03-08T00:00",
    "2026-03-09T00:00",
  ],
  [
    "a day, to one that has 25 hours",
    "2026-03-02T00:00",
    "2026-03-03T00:00",
    "2026-11-01T00:00",
    "2026-11-02T00:00",
  ],
  [
    "a day of 25 hours, to another",
    "2026-11-01T00:00",
    "2026-11-02T00:00",
    "2026-11-05T00:00",
    "2026-11-06T00:00",
  ],
  ["some days", "2026-02-26T09:00", "2026-03-02T17:00", "2026-03-06T09:00", "2026-03-10T17:00"],
  [
    "two hours, over the one that is left out",
    "2026-03-01T01:00",
    "2026-03-01T03:00",
    "2026-03-08T01:00",
    "2026-03-08T04:00",
  ],
  ["no time", "2026-03-01T01:00", "2026-03-01T01:00", "2026-03-08T01:00", "2026-03-08T01:00"],
])(
  "what is moved takes as many days, and as long beside them, where clocks change: %s",
  (_, from, to, begins, ends) => {
    vi.stubEnv("TZ", "America/New_York");
    const end = endFrom(new Date(begins), new Date(from), new Date(to));
    expect(new Date(end)).toEqual(new Date(ends));
    expect(endFrom(new Date(begins), new Date(from), new Date(""))).toBeNaN();
  },
);

test("what is moved to the second of two hours that look alike is as long as it was", () => {
  vi.stubEnv("TZ", "America/New_York");
  const [first, second] = momentsAt("2026-11-01T01:30") as [Date, Date];
  expect(endFrom(second, first, second)).toBe(second.getTime() + 3_600_000);
});
