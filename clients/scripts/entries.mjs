// What a package's manifest says about its sources.

import { existsSync } from "node:fs";
import { join } from "node:path";

// Sources import each other as "./name.js", which is what the built files are called.
export const resolve = { extensionAlias: { ".js": [".ts", ".tsx", ".js"] } };

// Nothing is made but inside of functions, where no bundler needs to be told that it may be left out.
export const comments = { annotation: false };

/** Output name -> source, for each code entry of `exports`. */
export function entries(manifest, folder = ".") {
  const found = {};
  for (const target of Object.values(manifest.exports)) {
    if (!target.import) continue;
    const name = target.import.default.replace("./dist/esm/", "").replace(/\.js$/, "");
    const source = [".ts", ".tsx"]
      .map((end) => join(folder, "src", name + end))
      .find((path) => existsSync(path));
    if (!source) throw new Error(`${manifest.name} exports ${name}, but src has no such module`);
    found[name] = source;
  }
  return found;
}
