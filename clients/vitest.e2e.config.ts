import { defineConfig } from "vitest/config";

// The calendar in a real Chromium, against a real gateway that serves it: one file at a time, each a whole story.
export default defineConfig({
  test: { include: ["calendar/e2e/**/*.test.ts"], testTimeout: 90_000, fileParallelism: false },
});
