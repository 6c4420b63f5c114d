// npm socket.io as a plain broadcast: a room a document, an edit to everybody else in it: node socketio.mjs --port 0

import { createServer } from "node:http";
import { Server } from "socket.io";
import { port, ready, strikes } from "./common.mjs";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
let held;

io.on("connection", (socket) => {
  socket.on("join", (room, done) => {
    socket.join(room);
    done();
  });
  socket.on("edit", (body, done) => {
    const pass = (edit) => socket.to(edit.room).emit("edit", edit);
    if (strikes("lose")) return done();
    if (held === undefined && strikes("reorder")) held = [pass, body];
    else {
      pass(body);
      if (strikes("duplicate")) pass(body);
      if (held?.[1].by === body.by) {
        held[0](held[1]);
        held = undefined;
      }
    }
    done();
  });
});
http.listen({ port, host: "127.0.0.1", backlog: 4096 }, () =>
  ready(http.address(), "/socket.io/?EIO=4&transport=websocket"),
);
