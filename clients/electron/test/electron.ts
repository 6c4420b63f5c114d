/** Electron, as far as the example's scripts ask for it. */

import { readFileSync } from "node:fs";
import { Module } from "node:module";
import { join } from "node:path";

/** Runs a script of the example as Electron would, with the modules that it requires. */
export function run(name: string, given: Record<string, unknown>): void {
  const path = join(import.meta.dirname, "..", name);
  const script = new Module(path);
  const own = script.require.bind(script);
  script.require = ((module: string) => given[module] ?? own(module)) as NodeJS.Require;
  const text = readFileSync(path, "utf8");
  (script as unknown as { _compile(code: string, path: string): void })._compile(text, path);
}
