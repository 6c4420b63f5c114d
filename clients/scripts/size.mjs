// What each package's main entry loads: the gzipped size of what comes at once, minified, against its budget, and
// of the parts that come when they are needed. Exits 1 when one is over. With --modules: what each module takes.

import { basename } from "node:path";
import { gzipSync } from "node:zlib";
import { comments, resolve } from "./entries.mjs";
import { checks, rolldown } from "./rolldown.mjs";

const BUDGETS = [
  { name: "@collab/client", input: "client/src/index.ts", bytesMax: 27_075 },
  { name: "@collab/client/kernel", input: "client/src/kernel/index.ts", bytesMax: 10_550 },
  { name: "@collab/react", input: "react/src/index.ts", bytesMax: 4_096 },
];

const gzipped = (code) => gzipSync(code, { level: 9 }).length;

/** Each file is compressed by itself. */
const bytesOf = (chunks) => chunks.reduce((sum, { code }) => sum + gzipped(code), 0);

/** The chunks of an entry: those that come at once, and those that come `later`. */
async function chunksOf(input) {
  const options = { input, resolve, platform: "neutral", checks, external: /^[^./]/ };
  // One file comes at once, as in an application's bundle, where other parts may import from the entry.
  const bundle = await rolldown({ ...options, preserveEntrySignatures: "allow-extension" });
  // Names without hashes: what stands in a later part is no matter of the first one's size.
  const chunkFileNames = "[name].js";
  const { output } = await bundle.generate({ format: "esm", minify: true, comments, chunkFileNames });
  await bundle.close();
  const byName = new Map(output.map((chunk) => [chunk.fileName, chunk]));
  const atOnce = new Set();
  const visit = (chunk) => {
    if (!chunk || atOnce.has(chunk)) return;
    atOnce.add(chunk);
    for (const name of chunk.imports) visit(byName.get(name));
  };
  visit(output.find((chunk) => chunk.isEntry));
  return { atOnce: [...atOnce], later: output.filter((chunk) => !atOnce.has(chunk)) };
}

/** Each module's share of the chunks, by its length before they are minified: gzip has no shares of its own. */
function modulesOf(chunks) {
  const lengths = chunks.flatMap(({ modules }) =>
    Object.entries(modules).map(([path, { renderedLength }]) => [
      path.replace(/^.*\/src\//, ""),
      renderedLength,
    ]),
  );
  const total = lengths.reduce((sum, [, length]) => sum + length, 0);
  const bytes = bytesOf(chunks);
  const shares = lengths.map(([path, length]) => [path, Math.round((bytes * length) / total)]);
  return shares.filter(([, share]) => share).sort((one, other) => other[1] - one[1]);
}

let isOver = false;
for (const { name, input, bytesMax } of BUDGETS) {
  const { atOnce, later } = await chunksOf(input);
  const bytes = bytesOf(atOnce);
  const minified = atOnce.reduce((sum, { code }) => sum + code.length, 0);
  isOver ||= bytes > bytesMax;
  const verdict = bytes > bytesMax ? "OVER" : "ok";
  console.log(`${name}: ${bytes} B gzipped, ${minified} B minified; at most ${bytesMax} B: ${verdict}`);
  if (process.argv.includes("--modules")) {
    for (const [path, share] of modulesOf(atOnce)) console.log(`  ${String(share).padStart(6)} B  ${path}`);
  }
  for (const chunk of later) {
    console.log(`  later: ${basename(chunk.fileName)}, ${gzipped(chunk.code)} B gzipped`);
  }
}
process.exitCode = isOver ? 1 : 0;
