// Gives the page a store of files. What crosses the bridge is cloned, so changes go as pairs and not as a Map.

const { contextBridge } = require("electron");
const { fileStore } = require("@collab/client/node");

const argument = process.argv.find((one) => one.startsWith("--store="));
const store = fileStore(argument.slice("--store=".length));

contextBridge.exposeInMainWorld("collabFiles", {
  read: (key) => store.read(key),
  write: (pairs) => store.write(new Map(pairs)),
  keys: (prefix) => store.keys(prefix),
  close: () => store.close(),
});
