// Builds the package of the working directory: each of its exports as ESM and as CJS, with types.
//
// dist/esm and dist/cjs hold the same files; a package.json in the latter says that its .js and .d.ts are CJS.
// The license goes along: npm packs the one that lies beside package.json.

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { comments, entries, manifestOf, resolve, tsc } from "./entries.mjs";
import { build, checks } from "./rolldown.mjs";

const manifest = manifestOf(".");

// The types stand on those of our packages beside it. A build makes them last.
const ours = Object.keys(manifest.peerDependencies ?? {}).filter((name) => name.startsWith("@collab/"));
const unbuilt = ours
  .map((name) => join("..", basename(name)))
  .filter((folder) => !existsSync(join(folder, manifestOf(folder).types)));
for (const cwd of unbuilt) execFileSync("npm", ["run", "--silent", "build"], { cwd, stdio: "inherit" });

rmSync("dist", { recursive: true, force: true });
for (const format of ["esm", "cjs"]) {
  await build({
    input: entries(manifest),
    external: /^[^./]/, // nothing that isn't the package's own goes into it
    resolve,
    platform: "neutral",
    checks,
    output: {
      dir: `dist/${format}`,
      format,
      chunkFileNames: "chunks/[name]-[hash].js",
      exports: "named",
      comments,
    },
  });
}
tsc("-p", "tsconfig.build.json");
cpSync("dist/esm", "dist/cjs", {
  recursive: true,
  filter: (source) => !source.endsWith(".js") && !source.includes("chunks"),
});
writeFileSync("dist/cjs/package.json", `${JSON.stringify({ type: "commonjs" })}\n`);
cpSync("../../LICENSE", "LICENSE");
