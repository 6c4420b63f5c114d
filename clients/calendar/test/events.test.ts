/** The month's events: those that were told, and those made here. */

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

test("what was made here and isn't told yet stands among the others, by its start", () => {
  const told = [event("a", "2026-01-05T09:00:00Z"), event("b", "2026-01-05T11:00:00Z"), event("c", null)];
  const own = [event("d", "2026-01-05T11:30:00+01:00"), event("e", null)];
  expect(merged(told, own).map(({ id }) => id)).toEqual(["a", "d", "b", "c", "e"]);
});

test("what is told counts, also of an event that was made here", () => {
  const told = [event("a", "2026-01-05T09:00:00Z", "Lunch")];
  expect(merged(told, [event("a", "2026-01-05T09:00:00Z", "")])).toBe(told);
});

describe("of the events that were made here", () => {
  const calendar = (...items: Summary[]) => ({ status: "ready", isLive: true, items }) as const;
  const told = event("told", null);
  const [unsent, sent] = [{ ...event("unsent", null), version: 0 }, event("sent", null)];
  const ids = ["told", "unsent", "sent", "deleted"];
  const own = calendar(unsent, sent);

  test("none that isn't sent is let go of, but one that was deleted before is", () => {
    expect(settled(ids, calendar(told), own)).toEqual(["told", "sent", "deleted"]);
  });

  test("only those that are told are let go of while it isn't known how the others stand", () => {
    expect(settled(ids, { ...calendar(told), isLive: false }, own)).toEqual(["told"]);
    expect(settled(ids, calendar(told), { ...calendar(), status: "loading" })).toEqual(["told"]);
    expect(settled(ids, { ...calendar(), status: "loading" }, own)).toEqual([]);
  });
});
