/** A client: its documents and calendars, the connection that they share, and the store. */

import type {
  Calendar,
  Client,
  ClientOptions,
  Connection,
  ConnectionReason,
  DocumentOptions,
  Environment,
  Json,
  ListPage,
  ListQuery,
  Problem,
  Readable,
  SearchQuery,
  SharedDocument,
  Store,
  Strategies,
  Sync,
} from "./api.js";
import { LiveCalendar } from "./calendars.js";
import { Cell, Listeners } from "./cell.js";
import { type Peer, ServerConnection } from "./connection/connection.js";
import type { Link } from "./connection/link.js";
import type { DocumentContext } from "./documents/context.js";
import { Document } from "./documents/document.js";
import { environmentOf } from "./environment.js";
import { HttpApi } from "./http.js";
import { SCHEMAS } from "./schemas.js";
import { indexedDbStore } from "./store/indexeddb.js";
import { Keeper } from "./store/keeper.js";
import { memoryStore } from "./store/memory.js";
import { keyOf, type Message, randomName, resourceOf } from "./wire.js";

const TYPING_INTERVAL_MS = 200;
const META = "client";

/** What one store's client is called, and whose it is. */
interface Meta {
  clientId: string;
  userId: string | null;
}

interface Held<T> {
  item: T;
  holders: number;
}

/** A client of the gateway at `options.url`; it connects at once unless told not to. */
export function createClient(options: ClientOptions): Client {
  return new GatewayClient(options);
}

class GatewayClient implements Client, Peer {
  readonly connection: Readable<Connection>;
  readonly sync: Cell<Sync> = new Cell<Sync>({ state: "offline", pending: 0, isStored: true });
  #clientId: string;
  #userId: string | null;
  #connection: ServerConnection;
  #environment: Environment;
  #http: HttpApi;
  #keeper: Keeper;
  #documents = new Map<string, Held<Document<Json>>>();
  #calendars = new Map<string, Held<LiveCalendar>>();
  #attached = new Set<Document<Json>>(); // those whose record was looked for: they take part in the wire
  #problems = new Listeners<[Problem]>();
  #context: DocumentContext;
  #isVisible: boolean;
  #started: Promise<void>;

  constructor(private readonly options: ClientOptions) {
    this.#environment = environmentOf(options.environment);
    this.#clientId = options.clientId ?? randomName(this.#environment.random);
    this.#userId = options.userId ?? null;
    this.#isVisible = options.visible ?? true;
    this.#http = new HttpApi(options, this.#environment);
    this.#keeper = new Keeper(this.#store(), this.#environment, (problem) => this.#tell(problem));
    this.#connection = new ServerConnection(options, () => this.#clientId, this.#environment, this);
    this.connection = this.#connection.state;
    this.#context = this.#contextOf();
    this.connection.subscribe(() => this.#refresh());
    this.#started = this.#start();
  }

  get clientId(): string {
    return this.#clientId;
  }

  #store(): Store {
    if (this.options.store) return this.options.store;
    if (typeof globalThis.indexedDB === "undefined") return memoryStore();
    return indexedDbStore(`collab ${this.options.url} ${this.options.userId ?? ""}`);
  }

  #contextOf(): DocumentContext {
    const strategies: Record<string, Strategies> = { ...SCHEMAS, ...this.options.schemas };
    return {
      environment: this.#environment,
      keeper: this.#keeper,
      http: this.#http,
      typingIntervalMs: this.options.typingIntervalMs ?? TYPING_INTERVAL_MS,
      clientId: () => this.#clientId,
      strategies: (type) => strategies[type] ?? {},
      link: () => this.#connection.link,
      isVisible: () => this.#isVisible,
      nudge: () => this.#connection.nudge(),
      onProblem: (problem) => this.#tell(problem),
      onChanged: () => this.#refresh(),
    };
  }

  async #start(): Promise<void> {
    const meta = (await this.#keeper.load(META)) as unknown as Meta | undefined;
    if (meta?.clientId && !this.options.clientId) this.#clientId = meta.clientId;
    this.#userId ??= meta?.userId ?? null;
    this.#remember();
    for (const key of await this.#keeper.keys("queue/")) this.#openQueued(key.slice("queue/".length));
    if (this.options.connect !== false) this.#connection.connect();
    else this.#connection.disconnect();
  }

  #remember(): void {
    const meta = { clientId: this.#clientId, userId: this.#userId };
    void this.#keeper.save(META, () => meta);
  }

  /** Edits that were kept when the last client ended are sent, whether or not somebody opens their document. */
  #openQueued(key: string): void {
    const at = key.indexOf(":");
    const document = this.#hold(key.slice(0, at), key.slice(at + 1));
    const end = document.subscribe(() => {
      if (document.snapshot.pending || document.snapshot.status === "loading") return;
      end();
      document.close();
    });
  }

  // ------------------------------------------------------------------------------------------ documents

  open<T = Json>(type: string, id: string, options: DocumentOptions = {}): SharedDocument<T> {
    const document = this.#hold(type, id);
    Object.assign(document.options, options);
    return document as unknown as SharedDocument<T>;
  }

  #hold(type: string, id: string): Document<Json> {
    const key = keyOf(type, id);
    let held = this.#documents.get(key);
    if (!held) {
      const document = new Document<Json>(type, id, this.#context, () => this.#release(key));
      held = { item: document, holders: 0 };
      this.#documents.set(key, held);
      void this.#attach(document);
    }
    held.holders++;
    return held.item;
  }

  /** A document takes part once its record was looked for: what was kept comes before what the server says. */
  async #attach(document: Document<Json>): Promise<void> {
    await this.#started;
    await document.state.restore();
    if (document.snapshot.status === "closed") return;
    this.#attached.add(document);
    if (this.#connection.link) document.wire.subscribe();
    else this.#connection.nudge();
  }

  #release(key: string): void {
    const held = this.#documents.get(key);
    if (!held || --held.holders > 0) return;
    // What isn't sent yet goes first; and a page that closes and opens at once keeps its subscription.
    const end = () => {
      if (held.holders > 0 || held.item.snapshot.pending) return;
      ended();
      this.#documents.delete(key);
      this.#attached.delete(held.item);
      void held.item.end();
    };
    const ended = held.item.subscribe(end);
    queueMicrotask(end);
  }

  calendar(id: string): Calendar {
    let held = this.#calendars.get(id);
    if (!held) {
      const calendar = new LiveCalendar(id, this.#http, () => this.#releaseCalendar(id));
      held = { item: calendar, holders: 0 };
      this.#calendars.set(id, held);
      const link = this.#connection.link;
      if (link) this.#subscribeCalendar(link, calendar);
      else this.#connection.nudge();
    }
    held.holders++;
    return held.item;
  }

  #releaseCalendar(id: string): void {
    const held = this.#calendars.get(id);
    if (!held || --held.holders > 0) return;
    this.#calendars.delete(id);
    this.#connection.link?.send("UNSUBSCRIBE", { resource: "calendar", resource_id: id, children: true });
  }

  #subscribeCalendar(link: Link, calendar: LiveCalendar): void {
    if (link.features.includes("children")) {
      link.send("SUBSCRIBE", { resource: "calendar", resource_id: calendar.id, children: true }, "children");
    } else calendar.poll().catch(() => {});
  }

  list(type: string, query: ListQuery = {}): Promise<ListPage> {
    return this.#http.list(type, query);
  }

  search(query: SearchQuery): Promise<Json> {
    return this.#http.search(query);
  }

  // ----------------------------------------------------------------------------------------- connection

  connect(): void {
    if (this.connection.snapshot.reason === "replaced") this.#rename();
    void this.#started.then(() => this.#connection.connect());
  }

  /** Another connection goes by this client's name: a new name, under which nothing has been sent yet. */
  #rename(): void {
    this.#clientId = randomName(this.#environment.random);
    this.#remember();
    for (const { item } of this.#documents.values()) item.startOver();
  }

  disconnect(): void {
    void this.#started.then(() => this.#connection.disconnect());
  }

  setVisible(visible: boolean): void {
    this.#isVisible = visible;
    for (const { item } of this.#documents.values()) item.tellVisible();
  }

  onProblem(listener: (problem: Problem) => void): () => void {
    return this.#problems.add(listener);
  }

  async saved(): Promise<void> {
    await Promise.all([...this.#documents.values()].map(({ item }) => item.saved()));
  }

  async close(): Promise<void> {
    await this.#started;
    this.#connection.close();
    await Promise.all([...this.#documents.values()].map(({ item }) => item.end()));
    await this.#keeper.close();
  }

  // ------------------------------------------------------------------------- what the connection tells

  onOnline(link: Link): void {
    const { userId } = this.connection.snapshot;
    if (this.#userId !== null && userId !== this.#userId) {
      const message = `The store holds edits of ${this.#userId}, the token is ${userId}'s: use a store for each user.`;
      this.#tell({ code: "STORE_OTHER_USER", message });
      this.#connection.disconnect();
      return;
    }
    this.#userId = userId;
    this.#remember();
    this.#http.renew();
    this.#subscribe(link);
    for (const { item } of this.#calendars.values()) this.#subscribeCalendar(link, item);
  }

  /** Where the server takes it, all documents in one message. */
  #subscribe(link: Link): void {
    const documents = [...this.#attached];
    if (!link.features.includes("subscribe_many") || documents.length < 2) {
      for (const { wire } of documents) wire.subscribe();
      return;
    }
    for (const { wire } of documents) wire.onOnline();
    const resources = documents.map(({ wire }) => wire.subscription());
    const ref = link.send("SUBSCRIBE", { resources, visible: this.#isVisible, max_changes: 1000 });
    for (const { wire } of documents) wire.subscribeRef = ref;
  }

  onOffline(): void {
    for (const document of this.#attached) document.onOffline();
    for (const { item } of this.#calendars.values()) item.onOffline();
  }

  onMessage(message: Message): void {
    const { type, payload } = message;
    const key = resourceOf(payload);
    if (type.startsWith("CHILD") || (type === "ERROR" && payload.ref === "children")) {
      const calendar = this.#calendars.get(String(payload.resource_id))?.item;
      if (type === "ERROR") calendar?.onForbidden();
      else calendar?.onMessage(type, payload);
    } else if (key !== null) this.#documents.get(key)?.item.wire.onMessage(message);
    else if (type === "ERROR") this.#onError(message);
  }

  /** An error that names no resource is the answer to a SUBSCRIBE, or to nothing that is known. */
  #onError(message: Message): void {
    const { ref, message: text } = message.payload;
    const asked = [...this.#attached].filter(({ wire }) => ref !== null && wire.subscribeRef === ref);
    for (const { wire } of asked) wire.onMessage(message);
    if (!asked.length) this.#tell({ code: "ERROR", message: String(text), refusal: message.payload });
  }

  async poll(): Promise<void> {
    this.#http.renew();
    for (const document of this.#attached) await document.poll();
    for (const { item } of this.#calendars.values()) await item.poll();
  }

  onDenied(reason: ConnectionReason): void {
    this.#tell({ code: "DENIED", message: `The connection was denied: ${reason}.` });
  }

  #tell(problem: Problem): void {
    this.#problems.tell(problem);
  }

  #refresh(): void {
    const all = [...this.#documents.values()].map(({ item }) => item.snapshot);
    const pending = all.reduce((sum, one) => sum + one.pending, 0);
    const isStored = all.every((one) => one.isStored);
    const { state } = this.connection.snapshot;
    const isConnected = state === "online" || state === "polling";
    const waiting = isConnected ? "saving" : this.#keeper.isFailing ? "unsaved" : "offline";
    this.sync.update({
      pending,
      isStored,
      state: pending ? waiting : isConnected ? "saved" : "offline",
    });
  }
}
