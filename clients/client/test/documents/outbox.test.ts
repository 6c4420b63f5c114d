/** When typing goes out, with the clock in the test's hand. */

import { beforeEach, describe, expect, test } from "vitest";
import type { Environment } from "../../src/api.js";
import { Outbox } from "../../src/documents/outbox.js";

const INTERVAL_MS = 200;

let now: number;
let timer: { at: number; work: () => void } | null;
let waiting: number[]; // when each key came
let sent: { at: number; waits: number[] }[];
let outbox: Outbox;
let isAll: boolean; // of what waits, what goes

beforeEach(() => {
  now = 0;
  timer = null;
  waiting = [];
  sent = [];
  isAll = true;
  const environment = {
    now: () => now,
    setTimeout: (work: () => void, ms: number) => {
      timer = { at: now + ms, work };
      return timer;
    },
    clearTimeout: () => {
      timer = null;
    },
  } as unknown as Environment;
  outbox = new Outbox(environment, INTERVAL_MS, () => {
    sent.push({ at: now, waits: waiting.splice(0).map((at) => now - at) });
    outbox.sent(isAll);
  });
});

function passTo(time: number): void {
  while (timer && timer.at <= time) {
    const { at, work } = timer;
    now = at;
    timer = null;
    work();
  }
  now = time;
}

/** Keys at these times, and then none; gives how long each waited. */
function typed(times: number[]): number[] {
  for (const at of times) {
    passTo(at);
    waiting.push(at);
    outbox.request(true);
  }
  passTo(now + 10 * INTERVAL_MS);
  return sent.flatMap(({ waits }) => waits);
}

const most = (within: number) =>
  Math.max(...sent.map(({ at }) => sent.filter((one) => one.at >= at && one.at < at + within).length));

describe("typing", () => {
  test("the first key after a pause goes at once, a single further one a little later", () => {
    expect(typed([0, 50])).toEqual([0, 200]);
    expect(typed([5_000, 5_300, 5_600])).toEqual([0, 200, 0, 0, 0]);
  });

  test("at ten keys a second patches go with every other key, five a second", () => {
    const waits = typed(Array.from({ length: 101 }, (_, key) => 100 * key));
    expect(waits.every((ms) => ms === 0 || ms === 100)).toBe(true);
    expect(most(1_000)).toBe(5);
  });

  test("with keys that come a little early or late no more go, and none waits for long", () => {
    let random = 1;
    const times = Array.from({ length: 200 }, (_, key) => {
      random = (random * 48271) % 2147483647;
      return 100 * key + (random % 41) - 20;
    });
    const waits = typed(times);
    expect(waits).toHaveLength(200);
    expect(Math.max(...waits)).toBeLessThanOrEqual(300);
    expect(waits.reduce((sum, ms) => sum + ms, 0) / waits.length).toBeLessThan(100);
    expect(most(1_000)).toBe(5);
  });

  test("faster than the clock, it is still five a second", () => {
    typed(Array.from({ length: 500 }, (_, key) => 10 * key));
    expect(most(1_000)).toBe(5);
    expect(sent.flatMap(({ waits }) => waits)).toHaveLength(500);
  });
});

test("something else than typing goes at once, and takes along what waits", () => {
  outbox.request(true);
  now = 10;
  outbox.request(true);
  outbox.request(false);
  expect(sent.map(({ at }) => at)).toEqual([0, 10]);
});

test("something else than typing that waits behind what goes then goes at once after that, and typing waits again", () => {
  outbox.request(true);
  now = 10;
  outbox.request(true);
  isAll = false;
  outbox.request(false);
  isAll = true;
  for (now of [20, 30]) outbox.request(true);
  expect(sent.map(({ at }) => at)).toEqual([0, 10, 20]);
});
