import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// Packages see each other's sources, so no test needs a build.
const alias = [
  { find: /^@collab\/client\/kernel$/, replacement: source("client/src/kernel/index.ts") },
  { find: /^@collab\/client\/(.*)$/, replacement: source("client/src/$1.ts") },
  { find: /^@collab\/client$/, replacement: source("client/src/index.ts") },
  { find: /^@collab\/react$/, replacement: source("react/src/index.ts") },
];

export default defineConfig({
  resolve: { alias },
  test: {
    include: ["{client,react,calendar,electron}/test/**/*.test.{ts,tsx}"],
    passWithNoTests: true,
    maxWorkers: 2,
    // A machine that stands still for a while is no failure: tests wait for events, and this ends only what hangs.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
