// @collab/client of this repository, on a socket that answers as the gateway does.

import { createClient } from "../../clients/client/dist/esm/index.js";
import { event } from "./workload.mjs";

export const source = `export { createClient } from "../../../clients/client/dist/esm/index.js";`;

/** A gateway of documents that nobody else edits; it answers in a later macrotask. */
class Socket {
  readyState = 0;
  versions = new Map();

  constructor() {
    setImmediate(() => {
      this.readyState = 1;
      this.onopen?.({});
    });
  }

  send(data) {
    const message = JSON.parse(data);
    setImmediate(() => this.answer(message));
  }

  answer({ type, id, payload }) {
    const { resource_id, resource_type = "event", resource = resource_type } = payload;
    if (type === "AUTH") {
      const { client_id } = payload;
      const reconnect = { min_ms: 1000, max_ms: 30_000 };
      this.push("AUTH_ACK", { user_id: "me", client_id, session_id: "s", node: "n", limits: {}, reconnect, features: [] });
    } else if (type === "SUBSCRIBE") {
      const state = event(Number(resource_id));
      this.push("SUBSCRIBE_ACK", { resource, resource_id, version: 1, epoch: 1, role: "editor", state });
      this.push("PRESENCE_STATE", { resource, resource_id, presences: [], count: 0 });
    } else if (type === "OP") {
      const version = (this.versions.get(resource_id) ?? 1) + 1;
      this.versions.set(resource_id, version);
      this.push("OP_ACK", { resource_type, resource_id, version, id });
    } else if (type === "PING") this.push("PONG", {});
  }

  push(type, payload) {
    this.onmessage?.({ data: JSON.stringify({ type, id: "1", timestamp: 1, payload }) });
  }

  close() {}
}

export async function open(count) {
  let socket;
  const webSocket = () => (socket = new Socket());
  const client = createClient({ url: "ws://server/realtime", getToken: () => "token", environment: { webSocket } });
  const documents = Array.from({ length: count }, (_, number) => client.open("event", String(number)));
  await Promise.all(documents.map((document) => document.ready()));
  return { client, documents, socket };
}

const operation = ({ at, inserted, removed }) => ({
  op: "text",
  path: "/description",
  value: [...(at ? [at] : []), inserted ?? { d: removed }],
});

export async function remote(edits) {
  const { documents, socket } = await open(1);
  const messages = edits.map((edit, index) =>
    JSON.stringify({
      type: "OP_BROADCAST",
      id: String(index),
      timestamp: 1,
      payload: {
        resource_type: "event",
        resource_id: "0",
        operations: [operation(edit)],
        version: index + 2,
        client_id: "other",
        user_id: "other",
        op_id: String(index),
      },
    }),
  );
  return {
    async run() {
      for (const data of messages) socket.onmessage({ data });
    },
    text: () => documents[0].snapshot.view.description,
  };
}

export async function own(edits) {
  const { documents } = await open(1);
  return {
    async run(pause) {
      for (const edit of edits) {
        documents[0].edit(operation(edit));
        await pause();
      }
      await documents[0].saved();
    },
    text: () => documents[0].snapshot.view.description,
  };
}
