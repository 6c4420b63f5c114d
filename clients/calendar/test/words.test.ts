/** What a change did, in words. */

import { afterEach, expect, test, vi } from "vitest";
import { hourOf, momentOf, shortDay } from "../src/dates.js";
import { comparedWith, describe } from "../src/words.js";

type Change = Parameters<typeof describe>[0];

const before = {
  title: "Sync",
  start_time: "2026-01-05T10:00:00Z",
  end_time: "2026-01-05T11:00:00Z",
  attendees: [
    { user_id: "ann", response_status: "ACCEPTED" },
    { user_id: "ben", response_status: "NEEDS_ACTION" },
  ],
} as const;

const set = (path: string, value: string) => ({ op: "replace", path, value }) as const;
const invited = (user_id: string) =>
  ({ op: "add", path: "/attendees/2", value: { user_id, response_status: "NEEDS_ACTION" } }) as const;

function say(operations: Change["operations"], undoes: number | null = null) {
  return describe({ userId: "ben", operations, undoes }, before);
}

const hour = (time: string) => hourOf(new Date(time));
const day = (time: string) => shortDay(new Date(time));

test("what is made empty is said to be", () => {
  expect(say([set("/location", ""), set("/title", "Lunch")])).toBe(
    "emptied the location, set the title to “Lunch”",
  );
});

test("a change that others left nothing of is told as what somebody did", () => {
  expect(say([])).toBe("made a change of which nothing was left");
  expect(say([], 3)).toBe("took back: a change of which nothing was left");
});

test("a long text is cut between two characters", () => {
  expect(say([set("/title", `${"a".repeat(57)}🎃!`)])).toContain("a🎃!");
  expect(say([set("/title", `${"a".repeat(58)}🎃 and more`)])).toBe(`set the title to “${"a".repeat(58)}…”`);
});

test("of a short text that is typed in, or brought back, the whole is said", () => {
  const typed = { op: "text", path: "/title", value: [4, "-up"] } as const;
  expect(say([typed, { op: "add", path: "/location", value: "Room 7" }])).toBe(
    "set the title to “Sync-up”, set the location to “Room 7”",
  );
  expect(say([{ ...typed, value: [{ d: 4 }] }])).toBe("emptied the title");
  expect(say([set("/title", "Lunch"), { ...typed, value: [5, "!"] }])).toBe("set the title to “Lunch!”");
  expect(describe({ userId: "ben", operations: [typed], undoes: null }, null)).toBe("typed in the title");
});

test("a move says once from when to when, and the day where it is one", () => {
  const later = set("/start_time", "2026-01-05T10:30:00Z");
  const move = [later, set("/end_time", "2026-01-05T11:30:00Z")];
  const told = `from ${hour(before.start_time)} to ${hour(later.value)} (${day(later.value)})`;
  expect(say(move)).toBe(`moved ${told}`);
  expect(say(move, 3)).toBe(`took back: moved ${told}`);
  expect(say([later])).toBe(`changed the start ${told}`);
  const [start, end] = ["2026-02-07T10:00:00Z", "2026-02-07T11:00:00Z"];
  expect(say([set("/start_time", start), set("/end_time", end), set("/title", "Lunch")])).toBe(
    `moved from ${day(before.start_time)}, ${hour(before.start_time)} to ${day(start)}, ${hour(start)}, set the title to “Lunch”`,
  );
});

afterEach(() => void vi.unstubAllEnvs());

const [SATURDAY, SUNDAY, MONDAY, TUESDAY] = [
  "2026-10-31T04:00:00Z",
  "2026-11-01T04:00:00Z", // a day of 25 hours
  "2026-11-02T05:00:00Z",
  "2026-11-03T05:00:00Z",
] as const;

/** What is said where such a change is made to an event of these times, in New York. */
function retimed(times: readonly [string, string], start: string, end: string): string {
  vi.stubEnv("TZ", "America/New_York");
  const [start_time, end_time] = times;
  const operations = [set("/start_time", start), set("/end_time", end)];
  return describe({ userId: "ben", operations, undoes: null }, { start_time, end_time });
}

test("an event of days is moved by days, also where clocks change, and gets other days", () => {
  vi.stubEnv("TZ", "America/New_York");
  const [saturday, sunday, monday] = [SATURDAY, SUNDAY, MONDAY].map(day);
  expect(retimed([SATURDAY, SUNDAY], SUNDAY, MONDAY)).toBe(`moved from ${saturday} to ${sunday}`);
  expect(retimed([SATURDAY, MONDAY], SUNDAY, TUESDAY)).toBe(
    `moved from ${saturday} – ${sunday} to ${sunday} – ${monday}`,
  );
  expect(retimed([SUNDAY, MONDAY], SUNDAY, TUESDAY)).toBe(
    `changed the days from ${sunday} to ${sunday} – ${monday}`,
  );
  expect(retimed([SATURDAY, MONDAY], SUNDAY, MONDAY)).toBe(
    `changed the days from ${saturday} – ${sunday} to ${sunday}`,
  );
});

test("so is one of some days and hours, once", () => {
  const [start, later] = ["2026-10-30T14:00:00Z", "2026-10-31T14:00:00Z"];
  const said = retimed([start, "2026-10-31T16:00:00Z"], later, "2026-11-01T17:00:00Z");
  const told = (time: string) => momentOf(new Date(time));
  expect(said).toBe(`moved from ${told(start)} to ${told(later)}`);
});

test("without what was there before, less is said", () => {
  const operations = [set("/start_time", "2026-01-05T10:30:00Z")];
  const value = momentOf(new Date("2026-01-05T10:30:00Z"));
  const change = { userId: "ben", operations, undoes: null };
  expect(describe(change, null)).toBe(`set the start to “${value}”`);
  const [first] = operations;
  const made = { start_time: before.start_time };
  expect(describe({ ...change, operations: [{ op: "remove", path: "/start_time" }] }, made)).toBe(
    "removed the start",
  );
  expect(
    describe({ ...change, operations: [{ ...first, op: "add", path: "/end_time" } as never] }, made),
  ).toBe(`set the end to ${value}`);
});

test("who was invited, has answered and was removed is said by name", () => {
  expect(say([invited("cleo"), { op: "remove", path: "/attendees/0" }])).toBe("removed ann, invited cleo");
  expect(say([set("/attendees/1/response_status", "DECLINED")])).toBe("answered “Not going”");
  expect(say([set("/attendees/0/response_status", "DECLINED")])).toBe("set the answer of ann to “Not going”");
  expect(say([{ op: "add", path: "/attendees/1/email", value: "ben@example.org" }])).toBe(
    "set who comes to “ben@example.org”",
  );
});

test("only what says more beside what was there is compared with it", () => {
  const told = { version: 9, oldest: 7 };
  expect(comparedWith({ ...told, operations: [invited("cleo")] })).toBe(6);
  expect(comparedWith({ ...told, operations: [set("/end_time", before.end_time)] })).toBe(6);
  expect(comparedWith({ ...told, operations: [{ op: "text", path: "/title", value: ["A"] }] })).toBe(8);
  const operations = [set("/title", "Lunch"), set("/start_times", "")];
  expect(comparedWith({ ...told, operations })).toBe(null);
});

test("a change that is long, or that doesn't fit what was there, is described all the same", () => {
  const answers = Array.from({ length: 600 }, () => ["DECLINED", "ACCEPTED"]).flat();
  expect(say(answers.map((answer) => set("/attendees/1/response_status", answer)))).toBe("answered “Going”");
  expect(say([set("/attendees/9/response_status", "DECLINED")])).toBe("set an answer to “Not going”");
});
