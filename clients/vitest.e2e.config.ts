import { defineConfig } from "vitest/config";

// The calendar in a real Chromium, against a real gateway that serves it. Three files at a time, each with its own:
// the stories of the network mostly wait.
export default defineConfig({
  test: {
    include: ["calendar/e2e/**/*.test.ts"],
    globalSetup: ["calendar/e2e/browser.ts"],
    testTimeout: 300_000,
    hookTimeout: 300_000,
    maxWorkers: 3,
  },
});
