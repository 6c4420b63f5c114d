/**
 * When the next patch may go: typing at most five times in so many intervals, other edits at once, none while refused.
 *
 * The first key after a pause goes at once. A key that comes when another patch may go takes along what waits, so
 * that patches go with keys and not between them; without such a key, what waits goes a little later.
 */

import type { Environment } from "../api.js";
import { Timer } from "../timer.js";

/** At most so many patches of typing in as many intervals ... */
const PATCHES_MAX = 5;
/** ... two of them not closer than this part of one: keys don't come as regularly as a clock. */
const CLOSEST = 0.75;
const LATEST = 1.25;

export class Outbox {
  #timer: Timer;
  #dueAt = Infinity;
  #sentAt: number[] = []; // the latest, oldest first
  #blockedUntil = 0;
  #isUrgent = false; // among what waits there is something else than typing
  #environment: Environment;
  #intervalMs: number;
  #flush: () => void;

  constructor(environment: Environment, intervalMs: number, flush: () => void) {
    this.#environment = environment;
    this.#intervalMs = intervalMs;
    this.#flush = flush;
    this.#timer = new Timer(environment);
  }

  /** There is something to send; typing may wait for more of it. */
  request(isTyping: boolean): void {
    const now = this.#environment.now();
    this.#isUrgent ||= !isTyping;
    const dueAt = Math.max(now, this.#isUrgent ? now : this.#typingDueAt(now), this.#blockedUntil);
    if (dueAt >= this.#dueAt) return;
    this.close();
    if (dueAt <= now) this.#flush();
    else {
      this.#dueAt = dueAt;
      this.#timer.set(dueAt - now, () => {
        this.close();
        this.#flush();
      });
    }
  }

  #typingDueAt(now: number): number {
    const intervalMs = this.#intervalMs;
    const last = this.#sentAt.at(-1) ?? -Infinity;
    const first = this.#sentAt.at(-PATCHES_MAX) ?? -Infinity;
    const isClose = now < last + CLOSEST * intervalMs;
    return Math.max(isClose ? last + LATEST * intervalMs : now, first + PATCHES_MAX * intervalMs);
  }

  /** Is a later time set at which it goes by itself? */
  get isWaiting(): boolean {
    return this.#dueAt < Infinity;
  }

  /** It was all that waited, or a part of it. */
  sent(isAll: boolean): void {
    this.#sentAt = [...this.#sentAt, this.#environment.now()].slice(-PATCHES_MAX);
    this.#isUrgent &&= !isAll;
  }

  /** The server wants to hear nothing for so long; what there is goes then. */
  block(ms: number): void {
    this.#blockedUntil = this.#environment.now() + ms;
    this.close();
    this.request(false);
  }

  /** Nothing goes by itself any more. */
  close(): void {
    this.#timer.end();
    this.#dueAt = Infinity;
  }
}
