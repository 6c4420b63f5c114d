// Runs a program in TypeScript that stands on the packages' sources: node scripts/run.mjs client/test/faults/main.ts ...

import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { alias, resolve } from "./entries.mjs";
import { build } from "./rolldown.mjs";

const clients = fileURLToPath(new URL("..", import.meta.url));
const [program] = process.argv.splice(2, 1);
process.env.GATEWAY_ROOT ??= join(clients, "..");
const folder = mkdtempSync(join(clients, "node_modules/.run-")); // from there what is installed is found
try {
  await build({
    input: join(clients, program),
    resolve: { ...resolve, alias },
    external: /^(?!@collab\/)[^./]/,
    platform: "node",
    logLevel: "warn",
    output: { dir: folder, entryFileNames: "main.mjs", format: "esm" },
  });
  await import(pathToFileURL(join(folder, "main.mjs")).href);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
