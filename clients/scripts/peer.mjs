// Runs client/test/peer.ts, a process by which programs in other languages use the TypeScript kernel.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "rolldown";
import { resolve } from "./entries.mjs";

const clients = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "peer-"));
const alias = { "@collab/client/kernel": join(clients, "client/src/kernel/index.ts") };
try {
  await build({
    input: join(clients, "client/test/peer.ts"),
    resolve: { ...resolve, alias },
    platform: "node",
    logLevel: "warn",
    output: { file: join(folder, "peer.mjs"), format: "esm" },
  });
  await import(pathToFileURL(join(folder, "peer.mjs")).href);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
