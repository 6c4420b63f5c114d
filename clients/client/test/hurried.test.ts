/** Reads of the past by who has read too much, on a real gateway. */

import { expect, test } from "vitest";
import { People } from "./support/people.js";

const people = new People({ "limits.reads_per_minute": 600, "limits.reads_burst": 2 });
const slow = new People({ "limits.reads_per_minute": 1, "limits.reads_burst": 2 });
const ALONE = { locks: null, channel: null };

/** An event, and the answers that its client got over HTTP. */
async function event(of: People, environment = {}) {
  const answers: number[] = [];
  const noted: typeof fetch = async (...request) => {
    const answer = await fetch(...request);
    answers.push(answer.status);
    return answer;
  };
  const options = { environment: { ...ALONE, fetch: noted, ...environment } };
  const { document } = await of.event("ann", { title: "Sync" }, options);
  return { document, answers };
}

test("a history, and a version, that are asked for too soon come when the server says", async () => {
  const { document, answers } = await event(people);
  const histories = Array.from({ length: 4 }, () => document.history());
  const versions = Array.from({ length: 2 }, () => document.at(1));
  for (const { entries } of await Promise.all(histories)) expect(entries).toHaveLength(1);
  for (const { version } of await Promise.all(versions)) expect(version).toBe(1);
  expect(answers).toContain(429);
});

test("what comes too soon, however often it is tried, is refused", async () => {
  const waits: number[] = [];
  const soon = (callback: () => void, ms: number) => {
    if (ms > 30_000) waits.push(ms);
    return setTimeout(callback, ms > 30_000 ? 0 : ms); // a minute's
  };
  const { document, answers } = await event(slow, { setTimeout: soon });
  const readOn = async () => {
    for (;;) await document.history();
  };
  await expect(readOn()).rejects.toMatchObject({ status: 429, code: "RATE_LIMITED" });
  expect(answers.slice(-6)).toEqual([200, 429, 429, 429, 429, 429]);
  expect(waits).toHaveLength(4);
});
