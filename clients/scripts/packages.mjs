// Packs each published package, which builds it, and has publint, attw and the compiler look at what users would install,
// with its license.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { manifestOf, tsc } from "./entries.mjs";

const require = createRequire(import.meta.url);
const PACKAGES = ["client", "react", "react-native"];

async function lint(folder, archive) {
  const tarball = new Uint8Array(readFileSync(archive)).buffer;
  const { messages, pkg } = await publint({ pack: { tarball }, strict: true });
  for (const message of messages) console.log(`${folder}: ${formatMessage(message, pkg)}`);
  if (messages.length) process.exitCode = 1;
  else console.log(`${pkg.name}: publint has nothing to say`);
}

/** Who passes a package on has to pass on its license. */
function license(folder, archive) {
  const files = execFileSync("tar", ["-tzf", archive], { encoding: "utf8" }).split("\n");
  if (files.includes("package/LICENSE")) return;
  console.log(`${folder}: its package has no LICENSE`);
  process.exitCode = 1;
}

/** Without this Next.js takes hooks for the server's code, and a page that imports one can't be built. */
function directive(folder, archive) {
  for (const format of ["esm", "cjs"]) {
    const entry = `package/dist/${format}/index.js`;
    const built = execFileSync("tar", ["-xzOf", archive, entry], { encoding: "utf8" });
    if (built.startsWith('"use client"')) continue;
    console.log(`${folder}: ${entry} doesn't begin with "use client"`);
    process.exitCode = 1;
  }
}

/** Strict TypeScript takes each entry in an ES module and in CommonJS, a style sheet as well. */
function compile(folder) {
  const { name, exports } = manifestOf(folder);
  const paths = Object.keys(exports).filter((path) => !path.endsWith(".json"));
  const source = paths.map((path) => `import "${name}${path.slice(1)}";\n`).join("");
  const place = mkdtempSync("node_modules/.types-"); // from there the packages are found
  const files = ["module.mts", "common.cts"].map((file) => join(place, file));
  const options = ["--noEmit", "--strict", "--noUncheckedSideEffectImports", "--skipLibCheck"];
  try {
    for (const file of files) writeFileSync(file, source);
    tsc(...options, "--module", "node16", ...files);
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

/** What attw has no use for: a style sheet exports nothing. */
function withoutStyles(folder) {
  const { exports } = manifestOf(folder);
  const styles = Object.keys(exports).filter((path) => path.endsWith(".css"));
  return styles.length ? ["--exclude-entrypoints", ...styles] : [];
}

/** Each entry loads as ESM and as CJS, and gives the same names. React Native's needs its own bundler. */
async function load(folder) {
  const { name, exports } = manifestOf(folder);
  for (const [path, target] of Object.entries(exports)) {
    if (!target.import) continue;
    const entry = name + path.slice(1);
    const [imported, required] = [await import(entry), require(entry)].map((one) => Object.keys(one).sort());
    const isSame = imported.join() === required.filter((key) => key !== "__esModule").join();
    console.log(`${entry}: ${imported.length} names${isSame ? "" : ", others in CJS than in ESM"}`);
    if (!isSame) process.exitCode = 1;
  }
}

for (const folder of PACKAGES) {
  const packed = mkdtempSync(join(tmpdir(), "pack-"));
  try {
    execFileSync("npm", ["pack", "--silent", "--pack-destination", packed], {
      cwd: folder,
      stdio: "inherit",
    });
    const archive = join(packed, readdirSync(packed)[0]);
    license(folder, archive);
    if (folder === "react") directive(folder, archive);
    await lint(folder, archive);
    compile(folder);
    if (folder === "react") tsc("-p", "react/test/react-18");
    if (folder !== "react-native") await load(folder);
    const options = ["--profile", "node16", "--format", "ascii", ...withoutStyles(folder)];
    execFileSync("attw", [archive, ...options], { stdio: "inherit" });
  } finally {
    rmSync(packed, { recursive: true, force: true });
  }
}
