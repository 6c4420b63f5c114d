// Packs each published package and has publint and attw look at what users would install.

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const only = process.argv[2]; // "publint" or "attw"
const PACKAGES = ["client", "react", "react-native"];
const npx = (...args) => execFileSync("npx", ["--no-install", ...args], { stdio: "inherit" });

for (const folder of PACKAGES.filter((name) => existsSync(join(name, "dist")))) {
  if (only !== "attw") npx("publint", "--strict", folder);
  if (only === "publint") continue;
  const packed = mkdtempSync(join(tmpdir(), "pack-"));
  try {
    execFileSync("npm", ["pack", "--silent", "--pack-destination", packed], { cwd: folder, stdio: "ignore" });
    const [archive] = readdirSync(packed);
    npx("attw", join(packed, archive), "--profile", "node16");
  } finally {
    rmSync(packed, { recursive: true, force: true });
  }
}
