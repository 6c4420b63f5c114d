// npm sharedb: its client on a socket that answers as its server does.

import { createRequire } from "node:module";
import { event, until } from "./workload.mjs";

const { Connection } = createRequire(import.meta.url)("sharedb/lib/client");
const TYPE = "http://sharejs.org/types/JSONv0";

export const source = `export { Connection } from "sharedb/lib/client/index.js";`;

/** A server of documents that nobody else edits; it answers in a later macrotask. */
class Socket {
  readyState = 1;
  version = new Map();

  constructor(makeEvent) {
    this.makeEvent = makeEvent;
  }

  send(data) {
    const message = JSON.parse(data);
    setImmediate(() => this.answer(message));
  }

  answer(message) {
    const { a, c, d } = message;
    if (a === "hs") this.push({ a, protocol: 1, protocolMinor: 2, id: "client", type: TYPE });
    else if (a === "s") this.push({ a, c, d, data: { v: 1, data: this.makeEvent(Number(d)), type: TYPE } });
    else if (a === "bs") {
      const data = message.b.map((id) => [id, { v: 1, data: this.makeEvent(Number(id)), type: TYPE }]);
      this.push({ a, c, data: Object.fromEntries(data) });
    } else if (a === "op") {
      const v = this.version.get(d) ?? 1;
      this.version.set(d, v + 1);
      this.push({ a, c, d, v, src: "client", seq: message.seq });
    }
  }

  push(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }

  close() {}
}

export async function open(count) {
  const socket = new Socket(event);
  const connection = new Connection(socket);
  const documents = Array.from({ length: count }, (_, number) => connection.get("event", String(number)));
  for (const document of documents) document.subscribe();
  await until(() => documents.every((document) => document.data));
  return { documents, socket, connection };
}

const operation = ({ at, inserted, removed }, text) => [
  inserted ? { p: ["description", at], si: inserted } : { p: ["description", at], sd: text.slice(at, at + removed) },
];

/** The edits as operations, which name what they delete. */
function operations(edits) {
  let text = event().description;
  return edits.map((edit) => {
    const made = operation(edit, text);
    text = text.slice(0, edit.at) + (edit.inserted ?? "") + text.slice(edit.at + (edit.removed ?? 0));
    return made;
  });
}

export async function remote(edits) {
  const { documents, socket } = await open(1);
  const messages = operations(edits).map((op, index) =>
    JSON.stringify({ a: "op", c: "event", d: "0", v: index + 1, src: "other", seq: index + 1, op }),
  );
  return {
    async run() {
      for (const data of messages) socket.onmessage({ data });
      await until(() => documents[0].version === messages.length + 1);
    },
    text: () => documents[0].data.description,
  };
}

export async function own(edits) {
  const { documents } = await open(1);
  const made = operations(edits);
  return {
    async run(pause) {
      for (const op of made) {
        documents[0].submitOp(op);
        await pause();
      }
      await until(() => !documents[0].hasWritePending());
    },
    text: () => documents[0].data.description,
  };
}
