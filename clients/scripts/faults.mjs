// Runs client/test/faults/main.ts: many clients on a bad network (npm run faults -- --clients 10).

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "rolldown";
import { resolve } from "./entries.mjs";

const clients = fileURLToPath(new URL("..", import.meta.url));
process.env.GATEWAY_ROOT ??= join(clients, "..");
const folder = mkdtempSync(join(tmpdir(), "faults-"));
const alias = { "@collab/client": join(clients, "client/src/index.ts") };
try {
  await build({
    input: join(clients, "client/test/faults/main.ts"),
    resolve: { ...resolve, alias },
    platform: "node",
    logLevel: "warn",
    output: { file: join(folder, "faults.mjs"), format: "esm" },
  });
  await import(pathToFileURL(join(folder, "faults.mjs")).href);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
