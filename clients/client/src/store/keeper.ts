/** Writes documents to the store: together, latest state only, and on when there is trouble. */

import type { Environment, Json, Problem, Store } from "../api.js";
import { Listeners } from "../cell.js";
import { StoreCorruptError, StoreFullError } from "../errors.js";
import { Timer } from "../timer.js";
import { memoryStore } from "./memory.js";

const RETRY_MS = 30_000;
/** So long after it was made does a client tell that it has no store: somebody listens by then. */
const HEARD_MS = 1_000;

/** Who waits for what is saved under a key, or for all that is being written. */
interface Waiting {
  key: string | undefined;
  tell(isStored: boolean): void;
}

export class Keeper {
  #dirty = new Map<string, () => Json | undefined>();
  #waiting: Waiting[] = [];
  #isWriting = false;
  /** False in a tab that follows another: nothing is read or written, and nothing counts as stored by it. */
  isOwner = false;
  #reading = 0; // one lead may end, and another begin, while it still reads
  #isFailing = false;
  #isLeaderFailing = false;
  #isSealed = false;
  /** Told when `isFailing` is another, and when it is time to read again what could not be read. */
  readonly changed = new Listeners();
  #timer: Timer;
  #readTimer: Timer;
  #unread = new Set<string>(); // keys and prefixes of which was told
  #busy = new Map<string, () => boolean>(); // what is done before these keys are read
  #store: Store;
  #onProblem: (problem: Problem) => void;

  constructor(store: Store, environment: Environment, onProblem: (problem: Problem) => void) {
    this.#store = store;
    this.#onProblem = onProblem;
    this.#timer = new Timer(environment);
    this.#readTimer = new Timer(environment);
  }

  /** Can't it be read whose store it is? Then nothing else is read, and nothing written. */
  get isSealed(): boolean {
    return this.isOwner && this.#isSealed;
  }

  /** Did the owner's last write fail, or is the store sealed or another user's? Then edits are in memory only. */
  get isFailing(): boolean {
    return this.isSealed || (this.isOwner ? this.#isFailing : this.#isLeaderFailing);
  }

  /** The tab that has the store tells of it. */
  follow(isFailing: boolean): void {
    const isNew = isFailing !== this.#isLeaderFailing;
    this.#isLeaderFailing = isFailing;
    if (isNew) this.changed.tell();
  }

  /** The store is another user's: it is left alone. */
  leave(): void {
    this.isOwner = false;
    this.#isLeaderFailing = true;
    this.changed.tell();
  }

  /** Before anything was read or written: the store is left alone, and edits are in memory only, as its user is told. */
  forgo(cause: unknown, wayOut: string): void {
    this.#store = { ...memoryStore(), write: () => Promise.reject() };
    this.#isFailing = true;
    this.#readTimer.set(HEARD_MS, () =>
      this.#tell(cause, `Edits aren't stored here, for tabs can't share a store${wayOut}.`),
    );
  }

  /** The store is this tab's from now on; nothing is written over what is `read` of the tab before. */
  async own(read: () => Promise<void>): Promise<void> {
    this.#dirty.clear(); // what it could not write when it had the store before is another tab's by now
    this.#answer(false);
    this.isOwner = true;
    this.#reading++;
    try {
      await read();
    } finally {
      this.#reading--;
      if (!this.#isWriting) void this.#write();
    }
  }

  /** The store is another tab's from now on. Resolves when nothing is being written any more. */
  async disown(): Promise<void> {
    this.isOwner = false;
    if (this.#isWriting) await this.#written();
  }

  #written(key?: string): Promise<boolean> {
    return new Promise((tell) => this.#waiting.push({ key, tell }));
  }

  /** Whose store it is: `load` for what is read before all else. The store stays sealed while that can't be read. */
  async unseal(key: string, isBusy?: () => boolean): Promise<Json | undefined> {
    const owner = await this.#load(key, isBusy);
    this.#isSealed = owner === null;
    if (this.#isSealed) {
      this.#dirty.clear();
      this.#answer(false);
    }
    return owner;
  }

  /**
   * What is stored, as it was saved; undefined where there is nothing or it is corrupt, null where it can't be read now:
   * the store doesn't answer, or somebody `isBusy` with what was made without it.
   */
  async load(key: string, isBusy?: () => boolean): Promise<Json | undefined> {
    return this.isSealed ? null : this.#load(key, isBusy);
  }

  async #load(key: string, isBusy?: () => boolean): Promise<Json | undefined> {
    if (!this.isOwner) return undefined;
    try {
      const read = (await twice(() => this.#store.read(key))) ?? undefined;
      if (!isBusy?.()) return this.isOwner ? read : undefined;
      this.#busy.set(key, isBusy);
    } catch (error) {
      this.#onUnread(key, error);
      if (error instanceof StoreCorruptError) return undefined;
    }
    this.#dirty.delete(key); // made while it was read: it isn't written over it
    this.#answer(false, key);
    return null;
  }

  /** What somebody was busy with may be done: then it is time to read. */
  readOn(): void {
    if ([...this.#busy.values()].every((isBusy) => isBusy())) return;
    this.#busy.clear();
    this.changed.tell();
  }

  /** Keys that are stored; none where the store doesn't answer. */
  async keys(prefix: string): Promise<string[]> {
    try {
      if (this.isOwner && !this.#isSealed) return await twice(() => this.#store.keys(prefix));
    } catch (error) {
      this.#onUnread(prefix, error);
    }
    return [];
  }

  #onUnread(key: string, error: unknown): void {
    this.#readTimer.set(RETRY_MS, () => this.changed.tell());
    if (!this.#unread.has(key)) this.#tell(error, `What was stored as ${key} can't be read.`);
    this.#unread.add(key);
  }

  /** Save what `state` gives when its turn comes (undefined deletes). True when it is durable, false when not. */
  async save(key: string, state: () => Json | undefined): Promise<boolean> {
    if (!this.isOwner || this.#isSealed) return false;
    this.#dirty.set(key, state);
    const done = this.#written(key);
    if (!this.#isWriting && !this.#reading) void this.#write();
    return done;
  }

  /** Writes what there is, and nothing after that: the store is the next client's. */
  async close(): Promise<void> {
    await (this.#isWriting ? this.#written() : this.#write());
    this.isOwner = false;
    this.#timer.end();
    this.#readTimer.end();
    await this.#store.close().catch(() => {});
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    this.#timer.end();
    while (this.#dirty.size && this.isOwner && !this.#reading) {
      const states = this.#dirty;
      const waiting = this.#waiting.splice(0);
      this.#dirty = new Map();
      const isStored = await this.#writeAll(states);
      for (const { tell } of waiting) tell(isStored);
      if (!isStored) break;
    }
    this.#isWriting = false;
    if (this.#reading) return;
    this.#answer(this.isOwner && !this.#isFailing);
  }

  /** To those that wait for what is saved under a key, or all. */
  #answer(isStored: boolean, key?: string): void {
    for (const one of this.#waiting.splice(0)) {
      if (key === undefined || one.key === key) one.tell(isStored);
      else this.#waiting.push(one);
    }
  }

  async #writeAll(states: Map<string, () => Json | undefined>): Promise<boolean> {
    const wasFailing = this.#isFailing;
    try {
      await this.#store.write(new Map([...states].map(([key, state]) => [key, state()])));
      this.#isFailing = false;
    } catch (error) {
      for (const [key, state] of states) if (!this.#dirty.has(key)) this.#dirty.set(key, state);
      if (!wasFailing) this.#tell(error, "Edits aren't stored here, but kept in memory.");
      this.#isFailing = true;
      this.#timer.set(RETRY_MS, () => void this.#write());
    }
    if (wasFailing !== this.#isFailing) this.changed.tell();
    return !this.#isFailing;
  }

  #tell(cause: unknown, message: string): void {
    const isFull = cause instanceof StoreFullError;
    const code =
      cause instanceof StoreCorruptError ? "STORE_CORRUPT" : isFull ? "STORE_FULL" : "STORE_UNAVAILABLE";
    this.#onProblem({ code, message: isFull ? `${message} Make room on the device.` : message, cause });
  }
}

/** The store may have been closed while nobody used it. */
const twice = <T>(read: () => Promise<T>): Promise<T> => read().catch(read);
