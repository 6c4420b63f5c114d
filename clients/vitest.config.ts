import { defineConfig } from "vitest/config";
import { alias } from "./scripts/entries.mjs";

export default defineConfig({
  resolve: { alias }, // no test needs a build
  test: {
    include: ["{client,react,calendar,electron}/test/**/*.test.{ts,tsx}"],
    maxWorkers: 2,
    // A machine that stands still for a while is no failure: tests wait for events, and this ends only what hangs.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
