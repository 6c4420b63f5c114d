// The gzipped size of each package's main entry, minified, against its budget. Exits 1 when one is over.

import { existsSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { resolve } from "./entries.mjs";

const KB = 1024;
const BUDGETS = [
  { name: "@collab/client", input: "client/src/index.ts", bytesMax: 27 * KB },
  { name: "@collab/client/kernel", input: "client/src/kernel/index.ts", bytesMax: 11 * KB },
  { name: "@collab/react", input: "react/src/index.ts", bytesMax: 4 * KB },
];

async function minified(input) {
  const bundle = await rolldown({ input, resolve, platform: "neutral", external: /^[^./]/ });
  const { output } = await bundle.generate({ format: "esm", minify: true, codeSplitting: false });
  await bundle.close();
  return output[0].code;
}

let isOver = false;
for (const { name, input, bytesMax } of BUDGETS) {
  if (!existsSync(input)) continue;
  const code = await minified(input);
  const bytes = gzipSync(code, { level: 9 }).length;
  isOver ||= bytes > bytesMax;
  const verdict = bytes > bytesMax ? "OVER" : "ok";
  console.log(`${name}: ${bytes} B gzipped, ${code.length} B minified; at most ${bytesMax} B: ${verdict}`);
}
process.exitCode = isOver ? 1 : 0;
