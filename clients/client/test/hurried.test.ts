/** Reads of the past by who has read too much, on a real gateway. */

import { expect, test } from "vitest";
import { People } from "./support/people.js";

const people = new People({ "limits.reads_per_minute": 600, "limits.reads_burst": 2 });
const slow = new People({ "limits.reads_per_minute": 1, "limits.reads_burst": 2 });
const ALONE = { locks: null, channel: null };

/** An event, and the answers that its client got over HTTP. */
async function event(of: People, environment = {}, user = "ann") {
  const answers: number[] = [];
  const noted: typeof fetch = async (...request) => {
    const answer = await fetch(...request);
    answers.push(answer.status);
    return answer;
  };
  const options = { environment: { ...ALONE, fetch: noted, ...environment } };
  const { client, document } = await of.event(user, { title: "Sync" }, options);
  return { client, document, answers };
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

test("what comes too soon isn't tried again once its client is closed", async () => {
  let goOn = () => {};
  let tell = () => {};
  const isWaiting = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const held = (callback: () => void, ms: number) => {
    if (ms <= 30_000) return setTimeout(callback, ms);
    goOn = callback; // a minute's
    tell();
    return 0;
  };
  const { client, document, answers } = await event(slow, { setTimeout: held }, "ben");
  const readOn = async () => {
    for (;;) await document.history();
  };
  const refused = expect(readOn()).rejects.toMatchObject({ status: 429 });
  await isWaiting;
  const { length } = answers;
  await client.close();
  goOn();
  await refused;
  expect(answers).toHaveLength(length);
});
