/** The month's events: those that were told, and those made here. */

import { expect, test } from "vitest";
import { merged } from "../src/events.js";

const event = (id: string, start_time: string | null, title = "") => ({
  type: "event",
  id,
  version: 1,
  title,
  start_time,
  end_time: null,
});

test("what was made here and isn't told yet stands among the others, by its start", () => {
  const told = [event("a", "2026-01-05T09:00:00Z"), event("b", "2026-01-05T11:00:00Z"), event("c", null)];
  const own = [event("d", "2026-01-05T11:30:00+01:00"), event("e", null)];
  expect(merged(told, own).map(({ id }) => id)).toEqual(["a", "d", "b", "c", "e"]);
});

test("what is told counts, also of an event that was made here", () => {
  const told = [event("a", "2026-01-05T09:00:00Z", "Lunch")];
  expect(merged(told, [event("a", "2026-01-05T09:00:00Z", "")])).toBe(told);
});
