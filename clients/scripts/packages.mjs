// Packs each published package and has publint and attw look at what users would install.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const only = process.argv[2]; // "publint" or "attw"
const PACKAGES = ["client", "react", "react-native"];

async function lint(folder, archive) {
  const tarball = new Uint8Array(readFileSync(archive)).buffer;
  const { messages, pkg } = await publint({ pack: { tarball }, strict: true });
  for (const message of messages) console.log(`${folder}: ${formatMessage(message, pkg)}`);
  if (messages.length) process.exitCode = 1;
  else console.log(`${pkg.name}: publint has nothing to say`);
}

for (const folder of PACKAGES) {
  const packed = mkdtempSync(join(tmpdir(), "pack-"));
  try {
    execFileSync("npm", ["pack", "--silent", "--pack-destination", packed], { cwd: folder, stdio: "ignore" });
    const archive = join(packed, readdirSync(packed)[0]);
    if (only !== "attw") await lint(folder, archive);
    if (only !== "publint") {
      execFileSync("attw", [archive, "--profile", "node16", "--format", "ascii"], { stdio: "inherit" });
    }
  } finally {
    rmSync(packed, { recursive: true, force: true });
  }
}
