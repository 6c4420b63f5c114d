// npm sharedb with its memory database and publish-subscribe, on npm ws: node sharedb.mjs --port 0

import { Duplex } from "node:stream";
import { createRequire } from "node:module";
import { faulty, port, ready, strikes } from "./common.mjs";

const require = createRequire(import.meta.url);
const ShareDB = require("sharedb");
const json1 = require("ot-json1");
const { WebSocketServer } = require("ws");

// As it comes, json1 refuses concurrent writes of one value; ShareDB asks for `transform` alone.
ShareDB.types.register({ ...json1.type, transform: json1.type.transformNoConflict });
ShareDB.logger.setMethods({ info: () => {}, warn: () => {} });
const backend = new ShareDB();
// An edit that is acknowledged and stored nowhere.
backend.use("commit", (context, next) => (strikes("forget") ? pretend(context) : next()));

function pretend(context) {
  const { agent, op } = context;
  agent.send({ a: "op", c: context.collection, d: context.id, v: op.v, seq: op.seq, src: op.src });
}

/** A socket as the stream of objects that ShareDB listens to. */
class SocketStream extends Duplex {
  constructor(socket) {
    super({ objectMode: true });
    let subscribed = false; // who reads a history gets it whole
    const isDelivery = (message) => subscribed && message.a === "op" && message.op !== undefined;
    this.write_ = faulty((message) => socket.send(JSON.stringify(message)), isDelivery);
    socket.on("message", (data) => {
      const message = JSON.parse(data);
      subscribed ||= message.a === "s";
      this.push(message);
    });
    socket.on("close", () => {
      this.push(null);
      this.end();
      this.destroy();
    });
    this.on("finish", () => socket.close());
  }

  _read() {}

  _write(message, _encoding, done) {
    this.write_(message);
    done();
  }
}

const server = new WebSocketServer({ port, host: "127.0.0.1", backlog: 4096, perMessageDeflate: false });
server.on("connection", (socket) => {
  socket.on("error", () => {});
  backend.listen(new SocketStream(socket));
});
server.on("listening", () => ready(server.address()));
