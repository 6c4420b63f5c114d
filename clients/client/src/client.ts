/** A client: its documents and calendars, the connection that they share, the store, and its tabs. */

import type {
  Calendar,
  Client,
  ClientOptions,
  Connection,
  DocumentOptions,
  Environment,
  Json,
  ListPage,
  ListQuery,
  Problem,
  SearchQuery,
  SharedDocument,
  Store,
  Strategies,
  Sync,
} from "./api.js";
import { Cell, Listeners } from "./cell.js";
import { type Peer, ServerConnection, type Way } from "./connection/connection.js";
import type { Link } from "./connection/link.js";
import type { DocumentContext } from "./documents/context.js";
import { NO_EPOCH } from "./documents/replicator.js";
import { environmentOf } from "./environment.js";
import type { HttpApi } from "./http.js";
import { lazy } from "./lazy.js";
import { Registry } from "./registry.js";
import { SCHEMAS } from "./schemas.js";
import { deferredStore } from "./store/deferred.js";
import { Keeper } from "./store/keeper.js";
import { memoryStore } from "./store/memory.js";
import type { Meta, Wish } from "./tabs/notes.js";
import type { TabClient, Tabs } from "./tabs/tabs.js";
import { type Message, randomName } from "./wire.js";

const TYPING_INTERVAL_MS = 200;
const META = "client";
const QUEUE = "queue/";

/** A client of the gateway at `options.url`; it connects at once unless told not to. */
export function createClient(options: ClientOptions): Client {
  return new GatewayClient(options);
}

class GatewayClient implements Client, Peer, TabClient {
  readonly connection: Cell<Connection>;
  readonly sync = new Cell<Sync>({ state: "offline", pending: 0, isStored: true });
  meta: Meta;
  readonly server: ServerConnection;
  #environment: Environment;
  #http: HttpApi | null = null;
  #loadHttp: () => Promise<HttpApi>;
  #keeper: Keeper;
  #registry: Registry;
  #tabs: Tabs | null = null; // null: nobody else has the store
  #problems = new Listeners<[Problem]>();
  tell = (problem: Problem): void => this.#problems.tell(problem);
  wanted: Required<Wish>; // whichever tab takes the lead
  #leading: Sync | null = null; // of the tab that does, if this one follows
  #isClosed = false;
  #unwatch: (() => void) | undefined;
  #started: Promise<void>;

  constructor(private readonly options: ClientOptions) {
    const environment = environmentOf(options.environment);
    this.#environment = environment;
    this.meta = {
      clientId: options.clientId ?? randomName(environment.random),
      userId: options.userId ?? null,
    };
    this.wanted = { isOnline: options.connect !== false, isVisible: options.visible !== false };
    this.#loadHttp = lazy(async () => {
      const { HttpApi } = await import("./http.js");
      this.#http = new HttpApi(options, environment, () => this.#isClosed);
      return this.#http;
    });
    const store = this.#store();
    this.#keeper = new Keeper(store, environment, this.tell);
    this.#keeper.changed.add(() => this.#onStore());
    this.server = new ServerConnection(options, () => this.clientId, environment, this);
    this.#registry = new Registry(this.#contextOf(), () => this.#started);
    this.connection = new Cell<Connection>({
      ...this.server.state.snapshot,
      isVisible: this.wanted.isVisible,
    });
    this.sync.subscribe(() => this.#tabs?.tellLeading());
    this.server.state.subscribe(() => this.#onConnection(this.server.state.snapshot));
    this.#started = this.#start(store.name);
  }

  /** Where others may have the same store open, the tabs agree on who leads; what does that is loaded first. */
  async #start(name: string | undefined): Promise<void> {
    const { locks, channel } = this.#environment;
    if (name !== undefined && locks !== null && channel !== null) {
      try {
        const { Tabs } = await import("./tabs/tabs.js");
        if (this.#isClosed) return;
        this.#tabs = new Tabs(name, this.#environment, this.#keeper, this.#registry, this);
        return await this.#tabs.start();
      } catch (cause) {
        if (this.#isClosed) return;
        // Two tabs that don't know of each other mustn't write to one store.
        this.#keeper.forgo(cause, this.#tabs ? "" : ": reload the page");
        this.#tabs = null;
      }
    }
    await this.#keeper.own(() => this.adopt());
    await this.lead();
  }

  /** Another tab leads, and tells of it. */
  onLeader(meta: Meta, connection: Connection, wanted: Required<Wish>, sync: Sync): void {
    if (this.#isOthers(meta.userId)) return;
    this.meta = meta;
    this.wanted = wanted;
    this.#leading = sync;
    this.#onConnection(connection);
  }

  get clientId(): string {
    return this.meta.clientId;
  }

  #store(): Store {
    const watched = (store: Store) => {
      this.#unwatch = store.watch?.(() => void this.#onClosed());
      return store;
    };
    if (this.options.store) return watched(this.options.store);
    if (!globalThis.indexedDB) return memoryStore();
    const name = `collab ${this.options.url} ${this.options.userId ?? ""}`;
    return deferredStore(name, async () => watched((await import("./indexeddb.js")).indexedDbStore(name)));
  }

  #contextOf(): DocumentContext {
    const strategies: Record<string, Strategies> = { ...SCHEMAS, ...this.options.schemas };
    return {
      environment: this.#environment,
      keeper: this.#keeper,
      http: this.#loadHttp,
      typingIntervalMs: this.options.typingIntervalMs ?? TYPING_INTERVAL_MS,
      clientId: () => this.clientId,
      strategies: (type) => strategies[type] ?? {},
      link: () => (this.#tabs ?? this.server).link,
      isVisible: () => this.wanted.isVisible,
      nudge: (isNeeded) => this.server.nudge(isNeeded),
      onProblem: this.tell,
      onChanged: () => this.#refresh(),
    };
  }

  /** Who has the store goes by its name, unless it is another user's: nothing else of it is read before. */
  async adopt(isBusy?: () => boolean): Promise<void> {
    const meta = (await this.#keeper.unseal(META, isBusy)) as unknown as Meta | undefined | null;
    const { clientId, userId = null } = meta ?? {};
    if (this.#isOthers(userId)) return;
    if (clientId && !this.options.clientId) this.meta.clientId = clientId;
    this.meta.userId ??= userId;
    this.#remember();
  }

  /**
   * The store may tell its name by now: the client goes by that one, if it went by another. What is at the server
   * has its answer before: under another name it would be made again.
   */
  async #adoptLate(): Promise<void> {
    const { clientId } = this;
    await this.adopt(() => this.#registry.documents.some(({ state }) => state.isAwaiting));
    if (!this.#keeper.isOwner || this.#keeper.isSealed) return;
    if (clientId !== this.clientId) {
      this.#startOver();
      this.server.disconnect();
      if (this.wanted.isOnline) this.server.connect();
    }
    this.#onStore();
  }

  /** The store is this client's, and what the last one left in it. */
  async lead(): Promise<void> {
    await this.#openQueued();
    if (!this.#keeper.isOwner) return; // another tab has taken the lead meanwhile
    void this.#countAlone();
    if (this.wanted.isOnline) this.server.connect();
    else this.server.disconnect();
    this.#onConnection(this.server.state.snapshot); // the other tab's was shown
  }

  /** Until all is read that the last tab left, what that one told counts. */
  async #countAlone(): Promise<void> {
    await Promise.all(this.#registry.documents.map(({ state }) => state.restored));
    if (!this.#keeper.isOwner) return;
    this.#leading = null;
    this.#refresh();
  }

  async #openQueued(): Promise<void> {
    const keys = await this.#keeper.keys(QUEUE);
    if (!this.#keeper.isOwner) return;
    for (const key of keys) this.#registry.openQueued(key.slice(QUEUE.length));
  }

  /** Is the store another user's? Then it is left alone, by this client as one without tabs, and so is the server. */
  #isOthers(owner: string | null): boolean {
    const userId = this.options.userId ?? this.meta.userId;
    if (!owner || !userId || owner === userId) return false;
    const message = `Store and token are of two users, ${owner} and ${userId}: use a store for each.`;
    this.tell({ code: "STORE_OTHER_USER", message });
    this.#tabs?.close();
    this.#tabs = this.#leading = null;
    this.#registry.onOffline();
    this.#keeper.leave();
    this.server.disconnect();
    return true;
  }

  #remember(): void {
    const meta = { ...this.meta };
    void this.#keeper.save(META, () => meta);
  }

  // ------------------------------------------------------------------------------------ for the application

  open<T = Json>(type: string, id: string, options?: DocumentOptions): SharedDocument<T> {
    const document = this.#registry.open(type, id, options);
    if (this.#isClosed) void document.end();
    return document as unknown as SharedDocument<T>;
  }

  calendar(id: string): Calendar {
    return this.#registry.calendar(id);
  }

  async list(type: string, query: ListQuery = {}): Promise<ListPage> {
    return (await this.#loadHttp()).list(type, query);
  }

  async search(query: SearchQuery): Promise<Json> {
    return (await this.#loadHttp()).search(query);
  }

  connect(): void {
    void this.#wish({ isOnline: true });
  }

  /** The application wants something of the client that only the one with the connection can do. */
  async #wish(wish: Wish): Promise<void> {
    this.#want(wish);
    await this.#started;
    if (this.#tabs) this.#tabs.wish(wish);
    else this.onWish(wish);
  }

  #want(wish: Wish): void {
    Object.assign(this.wanted, wish);
    this.#onConnection(this.connection.snapshot);
  }

  onWish(wish: Wish): void {
    const { isOnline, isVisible } = wish;
    this.#want(wish);
    if (isVisible !== undefined) for (const document of this.#registry.documents) document.tellVisible();
    if (isOnline === false) this.server.disconnect();
    if (!isOnline) return;
    if (this.connection.snapshot.reason === "replaced") this.#rename();
    this.server.connect();
  }

  /** Another connection goes by this client's name: a new name, under which nothing has been sent yet. */
  #rename(): void {
    this.meta.clientId = randomName(this.#environment.random);
    this.#remember();
    this.#startOver();
  }

  /** Under another name: the server knows nothing of the documents under it, so states are merged. */
  #startOver(): void {
    for (const { state } of this.#registry.documents) state.replicator.epoch = NO_EPOCH;
  }

  disconnect(): void {
    void this.#wish({ isOnline: false });
  }

  setVisible(visible: boolean): void {
    void this.#wish({ isVisible: visible });
  }

  onProblem(listener: (problem: Problem) => void): () => void {
    return this.#problems.add(listener);
  }

  async saved(): Promise<void> {
    await Promise.all(this.#registry.documents.map((document) => document.saved()));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unwatch?.();
    await this.#tabs?.handIn();
    this.#tabs?.abandon();
    await this.#started;
    this.server.close();
    await this.#registry.end();
    await this.#keeper.close();
    this.#tabs?.close();
  }

  // ------------------------------------------------------------------------- what the connection tells

  onOnline(link: Link): void {
    const { userId } = this.server.state.snapshot;
    if (this.#isOthers(userId)) return;
    this.meta.userId = userId;
    this.#remember();
    this.#http?.renew();
    this.#registry.onOnline(link);
  }

  onOffline(): void {
    this.#registry.onOffline();
  }

  onMessage(message: Message): void {
    this.#registry.onMessage(message);
  }

  async poll(isOn: () => boolean, isWhole: boolean): Promise<void> {
    if (isWhole) (await this.#loadHttp()).renew();
    await this.#registry.poll(isOn, isWhole);
  }

  #onConnection(way: Way): void {
    this.connection.update({ ...way, isVisible: this.wanted.isVisible });
    this.#tabs?.tellLeading();
    this.#refresh();
  }

  /** The store fails; or it does no more, or may do so, and has what could not be read, or takes what could not be written. */
  #onStore(): void {
    if (this.#keeper.isSealed) void this.#adoptLate();
    else if (!this.#keeper.isFailing) {
      void this.#openQueued();
      for (const document of this.#registry.documents)
        void (document.state.isUnread ? this.#registry.attach(document) : document.state.store());
    }
    this.#tabs?.tellLeading();
    this.#refresh();
  }

  /** Where all that was stored is gone, what is open is stored again, and whose it is. */
  async #onClosed(): Promise<void> {
    if ((await this.#keeper.load(META)) !== undefined || !this.#keeper.isOwner) return;
    this.tell({
      code: "STORE_CLEARED",
      message: "What was stored is gone. What is open is stored again.",
    });
    this.#remember();
    for (const { state } of this.#registry.documents) {
      state.isQueued = null;
      state.keep();
      state.refresh();
    }
  }

  /**
   * Of a tab that follows only what it hasn't handed over counts beside what the leading one tells. One that has just
   * taken the lead has that itself, as far as it is read.
   */
  #refresh(): void {
    this.#keeper.readOn();
    const { pending: waits = 0, isStored = true } = this.#leading ?? {};
    const all = this.#registry.documents;
    const own = all.reduce((sum, one) => sum + one.state.replicator.flight.pending, 0);
    const pending = this.#keeper.isOwner ? Math.max(waits, own) : waits + own;
    const { state } = this.connection.snapshot;
    const isConnected = ["online", "polling"].includes(state);
    const isUnsaved = this.#keeper.isFailing || all.some(({ state }) => state.isUnread);
    const waiting = isConnected ? "saving" : isUnsaved ? "unsaved" : "offline";
    this.sync.update({
      pending,
      isStored: isStored && all.every(({ snapshot }) => snapshot.isStored),
      state: pending ? waiting : isConnected ? "saved" : "offline",
    });
  }
}
