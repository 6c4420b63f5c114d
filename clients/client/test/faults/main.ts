/** `npm run faults -- --clients 10 --edits 1000 --seed 1`: the trial at full size, its result as JSON. */

import { parseArgs } from "node:util";
import { trial } from "./trial.js";

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "10" },
    edits: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    pause: { type: "string", default: "40" },
    kills: { type: "string", default: "2" },
  },
});
const result = await trial({
  clients: Number(values.clients),
  edits: Number(values.edits),
  seed: Number(values.seed),
  pauseMs: Number(values.pause),
  toggleEvery: 100,
  kills: Number(values.kills),
  rates: { everyMs: 4_000, delayMs: 20, stallMs: 2_000 },
});
console.log(JSON.stringify(result, null, 2));
process.exitCode = result.lost + result.repeated + result.differing ? 1 : 0;
