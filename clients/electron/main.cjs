// The main process: one window, whose page and modules come from this folder as app://example/...

const { app, BrowserWindow, net, protocol } = require("electron");
const { join, normalize, sep } = require("node:path");
const { pathToFileURL } = require("node:url");

// A scheme with an origin of its own: modules don't load from file: addresses. Allow app://example in the
// gateway's `server.origins`.
protocol.registerSchemesAsPrivileged([
  { scheme: "app", privileges: { standard: true, secure: true, supportFetchAPI: true } },
]);

function file(request) {
  const path = normalize(join(__dirname, decodeURIComponent(new URL(request.url).pathname)));
  if (!path.startsWith(__dirname + sep)) return new Response("not here", { status: 404 });
  return net.fetch(pathToFileURL(path).href);
}

function open() {
  protocol.handle("app", file);
  const window = new BrowserWindow({
    webPreferences: {
      preload: join(__dirname, "preload.cjs"),
      contextIsolation: true,
      sandbox: false, // the preload script writes files
      additionalArguments: [`--store=${join(app.getPath("userData"), "collab")}`],
    },
  });
  app.on("second-instance", () => {
    if (window.isMinimized()) window.restore();
    window.focus();
  });
  return window.loadURL("app://example/page.html");
}

// The store's files are for one process: who starts a second one gets the window of the first.
if (app.requestSingleInstanceLock()) app.whenReady().then(open);
else app.quit();
app.on("window-all-closed", () => app.quit());
