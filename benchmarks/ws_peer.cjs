// npm ws as a peer of the benchmarks: echoes text; "!all SIZE" goes to every other connection. Prints its port.
"use strict";
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", backlog: 4096, perMessageDeflate: false });
server.on("listening", () => console.log(server.address().port));
server.on("connection", (author) => {
  author.on("error", () => {});
  author.on("message", (data) => {
    const text = data.toString();
    if (!text.startsWith("!all ")) {
      author.send(text);
      return;
    }
    const message = "x".repeat(Number(text.slice(5)));
    for (const client of server.clients) if (client !== author) client.send(message);
    author.send("ok");
  });
});
