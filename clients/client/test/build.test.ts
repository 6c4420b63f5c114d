import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const clients = fileURLToPath(new URL("../..", import.meta.url));

test.each(["client", "calendar"])("a build of the %s without what is installed says the way out", (name) => {
  const bare = mkdtempSync(join(tmpdir(), "bare-"));
  try {
    for (const path of ["scripts", `${name}/package.json`]) {
      cpSync(join(clients, path), join(bare, path), { recursive: true });
    }
    const script = join(bare, "scripts", name === "calendar" ? "calendar.mjs" : "build.mjs");
    const { status, stderr } = spawnSync(process.execPath, [script], {
      cwd: join(bare, name),
      encoding: "utf8",
    });
    expect([status, stderr]).toEqual([
      1,
      'what builds need isn\'t installed: run "npm ci" in clients/ first\n',
    ]);
  } finally {
    rmSync(bare, { recursive: true, force: true });
  }
});
