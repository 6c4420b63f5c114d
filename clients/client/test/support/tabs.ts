/** Many tabs of one user, as a browser's origin has them, and ways to hold them up. */

import {
  type Channel,
  type Client,
  type ClientOptions,
  type Environment,
  type Json,
  memoryStore,
  type Socket,
  type Store,
} from "@collab/client";
import { broadcastChannel, locksOf } from "../../src/tabs/platform.js";
import { gate } from "./gate.js";
import type { Event, People } from "./people.js";

let count = 0;

/** What the tabs of a browser share: a store, with copies of what was written. */
export class Origin {
  readonly name = `tabs ${process.pid} ${++count}`;
  #inner: Store;

  constructor(
    private readonly people: People,
    values = new Map<string, Json>(),
  ) {
    this.#inner = memoryStore(values);
  }

  /** The store, as one more tab opens it. */
  store(): Store {
    const write: Store["write"] = (changes) => this.#inner.write(new Map(structuredClone([...changes])));
    return { ...this.#inner, write, name: this.name };
  }

  /** One more tab of Ann's. */
  tab(options: Partial<ClientOptions> = {}): Client {
    return this.people.client("ann", { store: this.store(), ...options });
  }
}

/** A channel that can be cut. */
export function cuttable() {
  const wire = { isCut: false };
  const channel = (name: string): Channel => {
    const inner = new BroadcastChannel(name);
    const own: Channel = {
      onmessage: null,
      post: (note) => wire.isCut || inner.postMessage(note),
      close: () => inner.close(),
    };
    inner.onmessage = (event) => wire.isCut || own.onmessage?.((event as MessageEvent).data);
    return own;
  };
  return { wire, environment: { channel } };
}

/** A channel on which nothing that is said arrives while it `isHeld`. */
export function holding() {
  const wire = { isHeld: false, goOn: () => {} };
  const channel = (name: string): Channel => {
    const inner = broadcastChannel(name);
    const said: Json[] = [];
    wire.goOn = () => {
      wire.isHeld = false;
      for (const note of said.splice(0)) inner.post(note);
    };
    const { post } = inner;
    return Object.assign(inner, { post: (note: Json) => (wire.isHeld ? void said.push(note) : post(note)) });
  };
  return { wire, environment: { channel } };
}

/** A channel of which what came over it can be told again. */
export function retold() {
  const notes: { kind: string; key?: string }[] = [];
  let own: Channel | null = null;
  const channel = (name: string): Channel => {
    const inner = broadcastChannel(name);
    const outer: Channel = { onmessage: null, post: inner.post, close: inner.close };
    inner.onmessage = (note) => {
      notes.push(note as { kind: string });
      outer.onmessage?.(note);
    };
    own = outer;
    return outer;
  };
  const heardOf = (kind: string, key?: string) =>
    notes.filter((note) => note.kind === kind && note.key === key).at(-1) as unknown as Json;
  return { heardOf, tell: (note: Json) => own?.onmessage?.(note), environment: { channel } };
}

/** A tab that is ended without a word to its client: its locks come free, and its channel is silent. */
export class MortalTab {
  readonly environment: Partial<Environment>;
  #wire: { isCut: boolean };
  #releases: (() => void)[] = [];

  constructor() {
    const { wire, environment } = cuttable();
    this.#wire = wire;
    const locks = locksOf();
    const kept = (release: () => void) => {
      this.#releases.push(release);
      return release;
    };
    this.environment = {
      ...environment,
      locks: {
        acquire: (name, options) => locks.acquire(name, options).then(kept),
        steal: (name, options) => locks.steal(name, options).then(kept),
      },
    };
  }

  end(): void {
    this.#wire.isCut = true;
    for (const release of this.#releases) release();
  }
}

/** A store that reads the record of this key when it is told to go on. */
export function gated(held: string) {
  const { isReached: isReading, goOn, pass } = gate();
  const slow = (inner: Store): Store => ({
    ...inner,
    read: async (key) => {
      if (key === held) await pass();
      return inner.read(key);
    },
  });
  return { isReading, goOn, slow };
}

/** A store that writes what has this text under this key when it is told to go on. */
export function gatedWrites(key: string, text: string) {
  const { isReached: isWriting, goOn, pass } = gate();
  const slow = (inner: Store): Store => ({
    ...inner,
    write: async (changes) => {
      if (JSON.stringify(changes.get(key) ?? "").includes(text)) await pass();
      await inner.write(changes);
    },
  });
  return { isWriting, goOn, slow };
}

/** A clock on which a tab soon looks again at the one that leads, which has as long to answer as ever. */
export const watchful: Partial<Environment> = {
  now: () => performance.now() * 20,
  setTimeout: (callback, ms) => setTimeout(callback, ms > 3_000 ? ms / 20 : ms),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

/** A clock on which what takes a while comes soon. */
export const hasty = (soon: number): Partial<Environment> => ({
  now: () => performance.now() / soon,
  setTimeout: (callback, ms) => setTimeout(callback, ms * soon),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
});

/** Sockets that tell what is said on them, of which the newest can be closed as the server closes an idle one. */
export function watchedSockets() {
  const said: string[] = [];
  let newest: WebSocket | null = null;
  const webSocket: Environment["webSocket"] = (url, protocols) => {
    const socket = new WebSocket(url, protocols);
    const send = socket.send.bind(socket);
    socket.send = (text) => {
      said.push(JSON.parse(String(text)).type);
      send(text);
    };
    newest = socket;
    return socket;
  };
  const endIdle = () => {
    const socket = newest as WebSocket;
    (socket as Socket).onclose?.({ code: 4408, reason: "" });
    socket.close();
  };
  return { said, webSocket, endIdle };
}

/** Sockets on which nothing that is said arrives while they are held. */
export function holdingSockets() {
  const said: (() => void)[] = [];
  const wire = {
    isHeld: false,
    goOn: () => {
      wire.isHeld = false;
      for (const say of said.splice(0)) say();
    },
  };
  const webSocket: Environment["webSocket"] = (url, protocols) => {
    const socket = new WebSocket(url, protocols);
    const send = socket.send.bind(socket);
    socket.send = (text) => (wire.isHeld ? void said.push(() => send(text)) : send(text));
    return socket;
  };
  return { wire, webSocket };
}

/** Waits until following tabs have said so many messages of a type. */
export function heard(name: string, type: string, count: number): Promise<void> {
  const channel = new BroadcastChannel(name);
  return new Promise<void>((resolve) => {
    channel.onmessage = (event) => {
      if ((event as MessageEvent).data.type === type && --count === 0) resolve();
    };
  }).finally(() => channel.close());
}

export async function opened(client: Client, id: string) {
  const document = client.open<Event>("event", id);
  await document.ready();
  return document;
}

interface Pair {
  value?: Event;
  origin?: Origin;
  one?: Partial<ClientOptions>;
  two?: Partial<ClientOptions>;
}

/** An event of Ben's, and two tabs of Ann's that have it open, of which the first one leads. */
export async function pair(people: People, options: Pair = {}) {
  const { value = { title: "Sync" }, origin = new Origin(people) } = options;
  const { document: ben } = await people.event("ben", value);
  const [one, two] = [origin.tab(options.one), origin.tab(options.two)];
  const first = await opened(one, ben.id);
  const second = await opened(two, ben.id);
  return { ben, origin, one, two, first, second };
}
