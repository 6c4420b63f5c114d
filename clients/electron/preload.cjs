// Gives the page a store of files. What crosses the bridge is cloned, so changes go as pairs and not as a Map, and an
// error as its name and message: as an error it would lose its class.

const { contextBridge } = require("electron");
const { fileStore } = require("@collab/client/node");

const argument = process.argv.find((one) => one.startsWith("--store="));
const store = fileStore(argument.slice("--store=".length));

const answer = (work) =>
  work.then(
    (value) => ({ value }),
    ({ name, message }) => ({ failed: name, message }),
  );

contextBridge.exposeInMainWorld("collabFiles", {
  read: (key) => answer(store.read(key)),
  write: (pairs) => answer(store.write(new Map(pairs))),
  keys: (prefix) => answer(store.keys(prefix)),
  close: () => answer(store.close()),
});
