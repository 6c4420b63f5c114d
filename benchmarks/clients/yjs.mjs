// npm yjs with @hocuspocus/provider, on a socket that answers as its server does.

import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider";
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import { writeSyncStep1, writeSyncStep2, writeUpdate } from "y-protocols/sync";
import * as Y from "yjs";
import { event, until } from "./workload.mjs";

export const source = `
  export { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider";
  export * as Y from "yjs";
`;

const SYNC = 0;
const AUTH = 2;
const SYNC_STATUS = 8;
const AUTHENTICATED = 2;

/** The document of an event, as an application would lay it out. */
function documentOf(value) {
  const document = new Y.Doc();
  const root = document.getMap("event");
  document.transact(() => {
    for (const [key, member] of Object.entries(value)) {
      if (key === "description") root.set(key, new Y.Text(member));
      else if (key === "tags") root.set(key, Y.Array.from(member));
      else if (key === "attendees") {
        root.set(key, Y.Array.from(member.map((one) => new Y.Map(Object.entries(one)))));
      } else root.set(key, member);
    }
  });
  return document;
}

function framed(name, type, write) {
  const encoder = encoding.createEncoder();
  encoding.writeVarString(encoder, name);
  encoding.writeVarUint(encoder, type);
  write(encoder);
  return encoding.toUint8Array(encoder).slice().buffer;
}

/** A server of documents that nobody else edits; it answers in a later macrotask. */
class Socket extends EventTarget {
  static last;
  readyState = 0;
  documents = new Map();

  constructor() {
    super();
    Socket.last = this;
    setImmediate(() => {
      this.readyState = 1;
      this.dispatchEvent(new Event("open"));
    });
  }

  send(data) {
    setImmediate(() => this.answer(data));
  }

  answer(data) {
    const decoder = decoding.createDecoder(data);
    const name = decoding.readVarString(decoder);
    const type = decoding.readVarUint(decoder);
    if (type === AUTH) {
      const write = (encoder) => {
        encoding.writeVarUint(encoder, AUTHENTICATED);
        encoding.writeVarString(encoder, "read-write");
      };
      this.push(framed(name, AUTH, write));
    } else if (type === SYNC && decoder.arr[decoder.pos] === 0) {
      const document = documentOf(event(Number(name)));
      this.push(framed(name, SYNC, (encoder) => writeSyncStep2(encoder, document)));
      this.push(framed(name, SYNC, (encoder) => writeSyncStep1(encoder, document)));
    } else if (type === SYNC) this.push(framed(name, SYNC_STATUS, (encoder) => encoding.writeVarInt(encoder, 1)));
  }

  push(data) {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }

  close() {}
}

export async function open(count) {
  const websocketProvider = new HocuspocusProviderWebsocket({ url: "ws://server", WebSocketPolyfill: Socket });
  const providers = Array.from({ length: count }, (_, number) => {
    const provider = new HocuspocusProvider({ websocketProvider, name: String(number), token: "token" });
    provider.attach();
    return provider;
  });
  await until(() => providers.every((provider) => provider.document.getMap("event").size > 0));
  return { providers, websocketProvider, socket: Socket.last };
}

function edited(text, { at, inserted, removed }) {
  if (inserted) text.insert(at, inserted);
  else text.delete(at, removed);
}

const textOf = (document) => document.getMap("event").get("description");

export async function remote(edits) {
  const { providers, socket } = await open(1);
  const { document } = providers[0];
  const other = new Y.Doc();
  Y.applyUpdate(other, Y.encodeStateAsUpdate(document));
  const messages = [];
  other.on("update", (update) => messages.push(framed("0", SYNC, (encoder) => writeUpdate(encoder, update))));
  for (const edit of edits) edited(textOf(other), edit);
  return {
    async run() {
      for (const data of messages) socket.push(data);
    },
    text: () => textOf(document).toString(),
  };
}

export async function own(edits) {
  const { providers } = await open(1);
  const text = textOf(providers[0].document);
  await until(() => !providers[0].hasUnsyncedChanges);
  return {
    async run(pause) {
      for (const edit of edits) {
        edited(text, edit);
        await pause();
      }
      await until(() => !providers[0].hasUnsyncedChanges);
    },
    text: () => text.toString(),
  };
}
