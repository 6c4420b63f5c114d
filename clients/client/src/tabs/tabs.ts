/**
 * The tabs of one store: the one that holds the lock leads, the others follow.
 *
 * The leading tab has the socket and the queue. A following one talks to it over a channel as it would to the
 * server (room.ts); when the leading one ends, the lock comes to another, which goes on with what is stored.
 * Each tab has a lock of its own, too: when a following one ends, however that is, the leading one gets it.
 */

import type { Channel, Client, Connection, Environment, Json, Locks, Readable, Sync } from "../api.js";
import type { Sender } from "../documents/context.js";
import type { Registry } from "../registry.js";
import type { Keeper } from "../store/keeper.js";
import { Timer } from "../timer.js";
import { type Payload, randomName } from "../wire.js";
import { onStanding, onTold } from "./follower.js";
import { TabHost } from "./host.js";
import type { Meta, Note, Wish } from "./notes.js";
import { broadcastChannel, locksOf } from "./platform.js";
import { handOver, takeOver } from "./takeover.js";

export { takeOver };

/** So long may the leading tab be silent where an answer is awaited: then it is asked, and then it is replaced. */
const SILENCE_MS = 3_000;
/** So often it is asked whether it is there, and told whether somebody looks at this one. */
const QUIET_MS = 20_000;
/** After its end, what a tab said last may come so late. */
const LAST_WORDS_MS = 1_000;
/** What only a tab that leads, or is about to, says. */
const SIGNS_OF_LIFE: Note["kind"][] = ["leading", "reading", "tell", "standing"];

/** What the client does in either role. */
export interface TabClient extends Pick<Client, "onProblem"> {
  /** Of a tab that leads; `onSeen`: the user looks at one that follows. */
  readonly server: {
    readonly link: Sender | null;
    readonly isSavingPower: boolean;
    disconnect(): void;
    onSeen(): void;
  };
  readonly meta: Meta;
  readonly connection: Readable<Connection>;
  readonly sync: Readable<Sync>;
  /** What a tab that takes the lead goes by. */
  readonly wanted: Required<Wish>;
  /** The store is this tab's, and nothing else was read of it: go by its name, or leave it to its user. */
  adopt(): Promise<void>;
  /** Connect with what it holds. */
  lead(): Promise<void>;
  onLeader(meta: Meta, connection: Connection, wanted: Required<Wish>, sync: Sync): void;
  onWish(wish: Wish): void;
}

export class Tabs {
  #channel: Channel | null = null;
  #host: TabHost | null = null;
  #leader: { name: string; sender: Sender } | null = null; // the tab that this one follows
  #tab: string;
  #locks: Locks;
  #giveUp = new AbortController(); // of the lead, and of what is waited for in it
  #live: Promise<() => void> | undefined;
  #isClosed = false;
  #isHandingOver = false;
  #silence: Timer;
  #askedAt = 0;
  #release: (() => void) | null = null;
  #decided: () => void = () => {};
  #unsubscribe: (() => void) | undefined;
  #said = 0;
  #wished: Wish = {}; // what the leading tab hasn't agreed to yet

  constructor(
    /** The store's. */
    private readonly name: string,
    private readonly environment: Environment,
    private readonly keeper: Keeper,
    private readonly registry: Registry,
    private readonly client: TabClient,
  ) {
    this.#tab = randomName(environment.random);
    this.#locks = environment.locks ?? locksOf();
    this.#silence = new Timer(environment);
  }

  /** Does this tab have the socket and the store? */
  get isLeading(): boolean {
    return this.keeper.isOwner;
  }

  get #isSeen(): boolean {
    return this.environment.foreground?.isOn() !== false;
  }

  /** Resolves when it is clear who leads; rejects, and is over, where the browser refuses locks or the channel. */
  start(): Promise<void> {
    const { isVisible } = this.client.wanted;
    if (!isVisible) this.#wished = { isVisible }; // in the other tabs as well
    return new Promise((resolve, reject) => {
      this.#decided = resolve;
      this.#begin().catch((cause) => {
        reject(cause);
        this.close();
      });
    });
  }

  /** A tab has its own lock before it says or hears anything. */
  async #begin(): Promise<void> {
    this.#live = this.#lockOf(this.#tab);
    await this.#live.catch((cause) => {
      if (!this.#isClosed) throw cause;
    });
    if (this.#isClosed) return this.#decided();
    this.#channel = (this.environment.channel ?? broadcastChannel)(this.name);
    this.#channel.onmessage = (note) => this.#onNote(note as unknown as Note);
    this.#seek();
    this.#ask();
    this.#unsubscribe = this.environment.foreground?.subscribe(() => this.isLeading || this.#ask());
  }

  #lockOf(tab: string): Promise<() => void> {
    const { signal } = this.#giveUp;
    return this.#locks.acquire(`${this.name} ${tab}`, { signal, onLost: () => {} });
  }

  async #gone(tab: string): Promise<void> {
    (await this.#lockOf(tab))();
    await new Promise<void>((resolve) => this.environment.setTimeout(resolve, LAST_WORDS_MS));
  }

  /** Waits for the lock, or takes it. */
  #seek(isStealing = false): void {
    const { signal } = (this.#giveUp = new AbortController());
    let held: (() => void) | null = null;
    const onLost = () => {
      if (held !== this.#release) return; // it was yielded before
      this.#release = null;
      void this.#stepDown();
    };
    const wanted = isStealing
      ? this.#locks.steal(this.name, { onLost })
      : this.#locks.acquire(this.name, { signal, onLost });
    wanted
      .then(
        (release) => {
          held = release;
          return signal.aborted ? release() : this.#lead(release);
        },
        () => {}, // not wanted any more before it was this tab's turn
      )
      .then(() => this.#isClosed && this.#decided());
  }

  /** The leading tab has to show that it lives: one that was put to sleep (on phones they are) can't lead. */
  #ask(): void {
    this.#askedAt = this.environment.now();
    this.#post({ kind: "hello", isSeen: this.#isSeen });
    this.#silence.set(SILENCE_MS, () => {
      if (this.#isSeen) this.#take();
    });
  }

  /** The leading tab is there. It is asked all the same: it may be in the background, and others' changes all that it hears. */
  #askLater(): void {
    const wait = Math.max(0, this.#askedAt + QUIET_MS - this.environment.now());
    this.#silence.set(wait, () => this.isLeading || this.#ask());
  }

  /** Ahead of the tabs that wait, of which one may be asleep. */
  #take(): void {
    this.#giveUp.abort();
    this.#seek(true);
  }

  async #lead(release: () => void): Promise<void> {
    this.#silence.end();
    this.#release = release;
    this.#leader = null;
    this.registry.onOffline();
    const isLeading = () => this.#release === release; // another tab may take it meanwhile
    await this.keeper.own(async () => {
      await this.client.adopt();
      for (const { state } of this.registry.documents) if (isLeading()) await takeOver(state, isLeading);
    });
    if (!isLeading() || this.#isClosed) return;
    const { random } = this.environment;
    const [post, gone] = [this.#post.bind(this), this.#gone.bind(this)];
    // A name for each lead: what is said to the one before isn't for this one.
    const [leader, epoch] = [randomName(random), Math.floor(random() * 2 ** 40)];
    this.#host = new TabHost(leader, this.registry, post, gone, epoch, this.client);
    this.#wished = {}; // it goes by what is wanted here
    await this.client.lead();
    this.#decided();
    this.tellLeading();
  }

  /** Another tab took the lead while this one was asleep, or is to have it: what this one has is merged there. */
  async #stepDown(yielded?: Note): Promise<void> {
    if (this.#isClosed || this.#isHandingOver) return;
    const release = this.#release;
    this.#giveUp.abort();
    const disowned = this.keeper.disown(); // first: what ends with its rooms is the other tab's to tell
    this.#host?.end();
    this.#host = null;
    this.#release = null;
    this.#isHandingOver = true;
    this.client.server.disconnect();
    this.registry.onOffline();
    await disowned;
    try {
      for (const { state } of this.registry.documents) handOver(state);
    } finally {
      this.#isHandingOver = false;
    }
    if (yielded && release) this.#yield(yielded, release);
    if (this.#isClosed) return;
    this.#seek();
    this.#ask();
  }

  /** The lock is there to be taken: released, it would go to a tab that has waited, and that may be asleep. */
  #yield(yielded: Note, release: () => void): void {
    this.#post(yielded);
    this.environment.setTimeout(release, SILENCE_MS); // it may have ended meanwhile
  }

  #post(note: Note): void {
    this.#channel?.post(note as unknown as Json);
  }

  /** The leading tab's word to the others; nothing from a following one. */
  tellLeading(): void {
    if (!this.#host) return;
    const { leader } = this.#host;
    const { isFailing } = this.keeper;
    const { meta, wanted, server } = this.client;
    const [connection, sync] = [this.client.connection.snapshot, this.client.sync.snapshot];
    const { isSavingPower } = server;
    this.#post({ kind: "leading", leader, meta, connection, sync, wanted, isFailing, isSavingPower });
  }

  #onNote(note: Note): void {
    if (this.#isHandingOver) return; // it asks again afterwards
    if (this.#host) this.#onFollower(note, this.#host);
    else if (!this.isLeading) this.#onLeader(note);
    else if (note.kind === "hello") this.#post({ kind: "reading" });
  }

  #onFollower(note: Note, host: TabHost): void {
    if (note.kind === "hello") this.#onHello(note.isSeen);
    else if (note.kind === "say" && note.leader === host.leader) host.onSay(note);
    else if (note.kind === "wish") this.client.onWish(note.wish);
    else if (note.kind === "yield" && note.leader === host.leader) this.#onYield(note);
  }

  #onHello(isSeen: boolean): void {
    if (isSeen) this.client.server.onSeen();
    this.tellLeading();
  }

  /** Not where something isn't stored: what this tab alone has could not be told from what others wrote. */
  #onYield({ leader, tab }: Note & { kind: "yield" }): void {
    if (this.client.sync.snapshot.isStored && !this.keeper.isFailing)
      void this.#stepDown({ kind: "yielded", leader, tab });
  }

  #onLeader(note: Note): void {
    if (SIGNS_OF_LIFE.includes(note.kind)) this.#askLater();
    if (note.kind === "leading") this.#follow(note);
    else if (!("leader" in note) || note.leader !== this.#leader?.name) return;
    else if (note.kind === "standing") onStanding(this.registry, note.key, note.standing);
    else if (note.tab !== this.#tab) return;
    else if (note.kind === "tell") onTold(this.registry, note.message);
    else if (note.kind === "yielded") this.#take();
  }

  #follow(note: Note & { kind: "leading" }): void {
    const { leader, meta, connection, sync, wanted, isFailing } = note;
    const isNew = leader !== this.#leader?.name;
    this.client.onLeader(meta, connection, this.#insisting(wanted), sync);
    if (this.#isClosed) return; // it is another user's
    this.keeper.follow(isFailing);
    // Its changes would come late, and somebody looks at this one.
    if (note.isSavingPower && this.#isSeen) this.#post({ kind: "yield", leader, tab: this.#tab });
    if (!isNew) return;
    this.registry.onOffline();
    const sender = this.#senderTo(leader);
    this.#leader = { name: leader, sender };
    this.#decided();
    this.registry.onOnline(sender);
  }

  /** What the leading tab wants, unless this one wished otherwise since: nobody may have led to hear it. */
  #insisting(wanted: Required<Wish>): Required<Wish> {
    const { isOnline = wanted.isOnline, isVisible = wanted.isVisible } = this.#wished;
    if (isOnline === wanted.isOnline && isVisible === wanted.isVisible) this.#wished = {};
    else this.#post({ kind: "wish", wish: this.#wished });
    return { isOnline, isVisible };
  }

  /** Where this client's messages go: the server, or the leading tab. */
  get link(): Sender | null {
    return this.isLeading ? this.client.server.link : (this.#leader?.sender ?? null);
  }

  #senderTo(leader: string): Sender {
    const send = (type: string, payload: Payload, id = `tab-${++this.#said}`) => {
      this.#post({ kind: "say", leader, tab: this.#tab, type, id, payload });
      if (type === "OP") this.#silence.set(SILENCE_MS, () => this.#ask());
      return id;
    };
    return { send, features: ["children"], limits: {} };
  }

  /** The application wants something of the client that only the leading one can do. */
  wish(wish: Wish): void {
    if (this.#host) {
      this.client.onWish(wish);
      return;
    }
    Object.assign(this.#wished, wish);
    if (!this.isLeading) this.#post({ kind: "wish", wish });
  }

  /** What the leading tab doesn't have yet goes to it, if it answers: a tab that follows stores nothing. */
  async handIn(): Promise<void> {
    if (this.isLeading || this.#isClosed) return;
    const limit = new Timer(this.environment);
    const late = new Promise<void>((resolve) => limit.set(SILENCE_MS, resolve));
    const all = this.registry.documents.map(async (document) => {
      const { state, wire } = document;
      wire.outbox.request(false);
      await document.until(() => !state.replicator.flight.pending || !!state.denial || !!this.#host);
    });
    await Promise.race([Promise.all(all), late]);
    limit.end();
  }

  /** Neither to lead nor to follow is wanted any more; what others say from now on, the next leading tab answers. */
  abandon(): void {
    this.#isClosed = true;
    this.#silence.end();
    this.#giveUp.abort();
    this.#unsubscribe?.();
    this.#host?.abandon();
    this.#host = null;
    if (this.#channel) this.#channel.onmessage = null;
  }

  /** For good: it follows nobody. */
  close(): void {
    this.abandon();
    for (const { state } of this.registry.documents) state.leading = null;
    this.#channel?.close();
    this.#channel = null;
    this.#release?.();
    this.#release = null;
    this.#decided();
    this.#live?.then(
      (release) => release(),
      () => {},
    );
  }
}
