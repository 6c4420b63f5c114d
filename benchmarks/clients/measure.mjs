// One figure of one client, in a process of its own: node --expose-gc measure.mjs CLIENT FIGURE

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { EVENTS, event, turn, typed, typing } from "./workload.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const [, , name, figure] = process.argv;
const client = await import(`./${name}.mjs`);

/** Minified and gzipped, what a page would load. */
async function size() {
  const require = createRequire(join(here, "../../clients/package.json"));
  const { rolldown } = await import(pathToFileURL(require.resolve("rolldown")).href);
  const folder = mkdtempSync(join(here, ".bundle-"));
  try {
    writeFileSync(join(folder, "entry.mjs"), client.source);
    const bundle = await rolldown({ input: join(folder, "entry.mjs"), platform: "browser", logLevel: "silent" });
    const { output } = await bundle.generate({ format: "esm", minify: true, codeSplitting: false });
    await bundle.close();
    return gzipSync(output[0].code, { level: 9 }).length;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function used() {
  for (let round = 0; round < 4; round++) globalThis.gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Bytes of heap for each open document. */
async function memory() {
  const kept = [await client.open(EVENTS)]; // code that is compiled once isn't counted
  await turn();
  const before = used();
  kept.push(await client.open(EVENTS));
  await turn();
  const bytes = (used() - before) / EVENTS;
  if (kept.length !== 2) throw new Error("the documents have to stay open");
  return bytes;
}

const cpuMs = (from) => {
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1000;
};

/** Milliseconds of CPU for all edits; the first, shorter round warms up. */
async function edits(prepare, pause) {
  const all = typing();
  const warm = await prepare(all.slice(0, 2000));
  await warm.run(pause);
  const { run, text } = await prepare(all);
  const before = process.cpuUsage();
  await run(pause);
  const ms = cpuMs(before);
  if (text() !== typed(event().description, all)) throw new Error(`${name} has another text`);
  return ms;
}

/** Every tenth edit lets the socket's answers in. */
function pausing() {
  let count = 0;
  return () => (++count % 10 ? undefined : new Promise((resolve) => setImmediate(resolve)));
}

const FIGURES = {
  size,
  memory,
  remote: () => edits(client.remote, () => undefined),
  own: () => edits(client.own, pausing()),
};

console.log(JSON.stringify(await FIGURES[figure]()));
process.exit();
