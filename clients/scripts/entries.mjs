// Where the sources of our packages are, and what a package's manifest says about them.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const clients = fileURLToPath(new URL("..", import.meta.url));

/** Who imports a package of ours gets its sources. What a name is the beginning of comes before it. */
export const alias = {
  "@collab/client/kernel": join(clients, "client/src/kernel/index.ts"),
  "@collab/client/node": join(clients, "client/src/node.ts"),
  "@collab/client/indexeddb": join(clients, "client/src/indexeddb.ts"),
  "@collab/client": join(clients, "client/src/index.ts"),
  "@collab/react": join(clients, "react/src/index.ts"),
};

// Sources import each other as "./name.js", which is what the built files are called.
export const resolve = { extensionAlias: { ".js": [".ts", ".tsx", ".js"] } };

// Nothing is made but inside of functions, where no bundler needs to be told that it may be left out.
export const comments = { annotation: false };

/** Runs the compiler. */
export function tsc(...options) {
  const compiler = createRequire(import.meta.url).resolve("typescript/package.json");
  execFileSync(process.execPath, [join(dirname(compiler), "bin/tsc"), ...options], { stdio: "inherit" });
}

export const manifestOf = (folder) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));

/** Output name -> source, for each code entry of `exports`. */
export function entries(manifest) {
  const found = {};
  for (const target of Object.values(manifest.exports)) {
    if (!target.import) continue;
    const name = target.import.default.replace("./dist/esm/", "").replace(/\.js$/, "");
    const source = [".ts", ".tsx"].map((end) => join("src", name + end)).find((path) => existsSync(path));
    if (!source) throw new Error(`${manifest.name} exports ${name}, but src has no such module`);
    found[name] = source;
  }
  return found;
}
