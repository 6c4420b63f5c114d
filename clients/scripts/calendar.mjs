// Builds the calendar into the gateway's package, which serves it: gateway/demo/static.
//
// With --check: builds elsewhere and fails where what is there isn't what the sources give.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { alias, comments, resolve } from "./entries.mjs";
import { checks, rolldown } from "./rolldown.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const SERVED = join(root, "../gateway/demo/static");
const isCheck = process.argv.includes("--check");
const target = isCheck ? mkdtempSync(join(tmpdir(), "calendar-")) : SERVED;

async function bundled(source) {
  const bundle = await rolldown({
    input: join(root, "calendar", source),
    platform: "browser",
    checks,
    resolve: { ...resolve, alias },
    transform: { jsx: "react-jsx", define: { "process.env.NODE_ENV": '"production"' } },
  });
  const { output } = await bundle.generate({ format: "esm", minify: true, comments, codeSplitting: false });
  await bundle.close();
  return output[0].code;
}

async function build(folder) {
  mkdirSync(join(folder, "assets"), { recursive: true });
  writeFileSync(join(folder, "assets/app.js"), await bundled("src/main.tsx"));
  writeFileSync(join(folder, "worker.js"), await bundled("worker/worker.ts")); // at the root: it is for the page
  const styles = ["react/src/styles.css", "calendar/src/styles.css"].map((name) =>
    readFileSync(join(root, name), "utf8"),
  );
  writeFileSync(join(folder, "assets/app.css"), styles.join("\n"));
  for (const name of ["icon.svg", "app.webmanifest"]) {
    writeFileSync(join(folder, "assets", name), readFileSync(join(root, "calendar", name)));
  }
  writeFileSync(join(folder, "index.html"), readFileSync(join(root, "calendar/index.html")));
}

function files(folder) {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return names.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).sort();
}

await build(target);
if (isCheck) {
  const stale = files(target).filter((name) => {
    const served = join(SERVED, name);
    try {
      return !readFileSync(served).equals(readFileSync(join(target, name)));
    } catch {
      return true;
    }
  });
  rmSync(target, { recursive: true, force: true });
  if (stale.length) {
    console.error(
      `gateway/demo/static is stale (${stale.join(", ")}): run "npm run build -w @collab/calendar" and commit it`,
    );
    process.exitCode = 1;
  }
}
