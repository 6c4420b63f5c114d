/** The trial with faults, small: `npm run faults` runs it at full size. */

import { expect, test } from "vitest";
import { trial } from "./trial.js";

test("four clients, a bad network and a killed server: nothing is lost, nothing twice, all equal", async () => {
  const rates = { everyMs: 400, delayMs: 10, stallMs: 500 };
  const result = await trial({
    clients: 4,
    edits: 100,
    seed: 7,
    pauseMs: 40,
    toggleEvery: 25,
    kills: 1,
    rates,
  });
  expect(result).toMatchObject({ edits: 400, lost: 0, repeated: 0, differing: 0, refused: 0 });
  expect(result.editsOffline).toBeGreaterThan(0);
  expect(result.offlineArrivedPercent).toBe(100);
  const { refused: _, ...faults } = result.faults;
  for (const count of Object.values(faults)) expect(count).toBeGreaterThan(0);
}, 120_000);
