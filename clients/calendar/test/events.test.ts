/** The month's events: those that were told, and those changed here. */

import type { Summary } from "@collab/client";
import { describe, expect, test } from "vitest";
import { merged, settled } from "../src/events.js";

const event = (id: string, start_time: string | null, title = "") => ({
  type: "event",
  id,
  version: 1,
  title,
  start_time,
  end_time: null,
});

const calendar = (...items: Summary[]) => ({ status: "ready", isLive: true, items }) as const;
const here = (...items: Summary[]) => new Map<string, Summary | null>(items.map((item) => [item.id, item]));

test("what was made here and isn't told yet stands among the others, by its start", () => {
  const told = [event("a", "2026-01-05T09:00:00Z"), event("b", "2026-01-05T11:00:00Z"), event("c", null)];
  const own = here(
    event("d", "2026-01-05T11:30:00+01:00"),
    event("e", null),
    event("0", told[0]!.start_time),
  );
  expect(merged(told, own).map(({ id }) => id)).toEqual(["0", "a", "d", "b", "c", "e"]);
});

test("what was changed here stands where it is by now, and what was deleted nowhere", () => {
  const [lunch, talk] = [event("a", "2026-01-05T09:00:00Z", "Lunch"), event("b", "2026-01-05T10:00:00Z")];
  const told = [lunch, talk, event("c", null)];
  const moved = event("a", "2026-01-05T11:00:00Z", "Brunch");
  expect(merged(told, here(moved).set("c", null))).toEqual([talk, moved]);
  expect(merged(told, here())).toEqual(told); // what they are here isn't known yet
});

test("what begins at once stands by title, as people order them, then by id", () => {
  const start = "2026-01-05T09:00:00Z";
  const titles = ["Talk 10", "apple", "Talk 2", "Brunch", "", "Talk 2"];
  const told = titles.map((title, id) => event(String(id), start, title));
  const ordered = merged([...told, event("first", "2026-01-05T10:00:00+02:00", "Last")], here());
  expect(ordered.map(({ id }) => id)).toEqual(["first", "1", "3", "2", "5", "0", "4"]);
});

describe("of the events that were changed here", () => {
  const lunch = event("lunch", "2026-01-05T09:00:00Z", "Lunch");
  const ids = ["lunch"];

  test("those are let go of that are told as they are here", () => {
    expect(settled(ids, calendar(lunch), here(lunch))).toEqual(ids);
    for (const other of [event("lunch", lunch.start_time, "Brunch"), event("lunch", null, "Lunch")])
      expect(settled(ids, calendar(lunch), here(other))).toEqual([]);
  });

  test("one that was made isn't before it is told, nor one that was deleted as long as it is", () => {
    expect(settled(ids, calendar(), here(lunch))).toEqual([]);
    expect(settled(ids, calendar(lunch), here().set("lunch", null))).toEqual([]);
    expect(settled(ids, calendar(), here().set("lunch", null))).toEqual(ids);
  });

  test("none is while it isn't known how it stands", () => {
    expect(settled(ids, { ...calendar(lunch), isLive: false }, here(lunch))).toEqual([]);
    expect(settled(ids, calendar(lunch), here())).toEqual([]);
    expect(settled(ids, calendar(), here())).toEqual([]);
  });
});
