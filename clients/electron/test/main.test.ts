import { EventEmitter } from "node:events";
import { expect, it } from "vitest";
import { run } from "./electron.js";

/** One start of the application, on a machine where it may run already. */
function started(isFirst: boolean) {
  const seen = { windows: [] as string[], shown: [] as string[], hasQuit: false };
  const app = Object.assign(new EventEmitter(), {
    getPath: () => "/data",
    quit: () => {
      seen.hasQuit = true;
    },
    requestSingleInstanceLock: () => isFirst,
    whenReady: () => Promise.resolve(),
  });
  class BrowserWindow {
    isMinimized() {
      return true;
    }
    restore() {
      seen.shown.push("restored");
    }
    focus() {
      seen.shown.push("focused");
    }
    loadURL(url: string) {
      seen.windows.push(url);
      return Promise.resolve();
    }
  }
  const protocol = { registerSchemesAsPrivileged: () => {}, handle: () => {} };
  run("main.cjs", { electron: { app, BrowserWindow, net: {}, protocol } });
  return { app, seen };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

it("opens one window, and shows it when the application is started again", async () => {
  const { app, seen } = started(true);
  await settle();
  expect(seen).toEqual({ windows: ["app://example/page.html"], shown: [], hasQuit: false });
  app.emit("second-instance");
  expect(seen.shown).toEqual(["restored", "focused"]);
});

it("leaves the files to the process that has them", async () => {
  const { seen } = started(false);
  await settle();
  expect(seen).toEqual({ windows: [], shown: [], hasQuit: true });
});
