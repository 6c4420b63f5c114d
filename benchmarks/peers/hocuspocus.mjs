// npm @hocuspocus/server on npm ws; documents that nobody looks at stay in memory: node hocuspocus.mjs --port 0

import { createRequire } from "node:module";
import { Hocuspocus } from "@hocuspocus/server";
import * as Y from "yjs";
import { faulty, port, ready, strikes } from "./common.mjs";

const { WebSocketServer } = createRequire(import.meta.url)("ws");
const stored = new Map();

const hocuspocus = new Hocuspocus({
  quiet: true,
  async onLoadDocument({ documentName, document }) {
    const update = stored.get(documentName);
    if (update) Y.applyUpdate(document, update);
    return document;
  },
  async onStoreDocument({ documentName, document }) {
    stored.set(documentName, Y.encodeStateAsUpdate(document));
  },
});

/** Name, type 0 (sync), step 2 (update): an update on its way to a reader. */
const isDelivery = (data) => {
  const at = 1 + data[0];
  return data[0] < 128 && data[at] === 0 && data[at + 1] === 2;
};

/** An update that is said to be saved, and isn't. */
function forgotten(socket, data) {
  if (!isDelivery(data) || !strikes("forget")) return false;
  socket.send(Uint8Array.of(...data.subarray(0, 1 + data[0]), 8, 1));
  return true;
}

const server = new WebSocketServer({ port, host: "127.0.0.1", backlog: 4096, perMessageDeflate: false });
server.on("connection", (socket, request) => {
  const send = faulty((data) => socket.send(data), isDelivery);
  const facade = {
    get readyState() {
      return socket.readyState;
    },
    send,
    close: (code, reason) => socket.close(code, reason),
  };
  const client = hocuspocus.handleConnection(facade, new Request(`http://127.0.0.1${request.url}`));
  socket.on("error", () => {});
  socket.on("message", (data) => {
    if (!forgotten(socket, data)) client.handleMessage(new Uint8Array(data));
  });
  socket.on("close", (code, reason) => client.handleClose({ code, reason: reason.toString() }));
});
server.on("listening", () => ready(server.address()));
