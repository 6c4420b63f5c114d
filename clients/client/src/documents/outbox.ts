/** When the next patch may go: typing at most once an interval, other edits at once, none while refused. */

import type { Environment } from "../api.js";

export class Outbox {
  #timer: unknown = null;
  #dueAt = Number.POSITIVE_INFINITY;
  #sentAt = Number.NEGATIVE_INFINITY;
  #blockedUntil = 0;
  #isUrgent = false; // among what waits there is something else than typing

  constructor(
    private readonly environment: Environment,
    private readonly intervalMs: number,
    private readonly flush: () => void,
  ) {}

  /** There is something to send; typing may wait for more of it. */
  request(isTyping: boolean): void {
    const now = this.environment.now();
    this.#isUrgent ||= !isTyping;
    const from = !this.#isUrgent ? this.#sentAt + this.intervalMs : now;
    const dueAt = Math.max(now, from, this.#blockedUntil);
    if (dueAt >= this.#dueAt) return;
    this.#clear();
    if (dueAt <= now) this.flush();
    else this.#arm(dueAt, now);
  }

  #arm(dueAt: number, now: number): void {
    this.#dueAt = dueAt;
    this.#timer = this.environment.setTimeout(() => {
      this.#dueAt = Number.POSITIVE_INFINITY;
      this.flush();
    }, dueAt - now);
  }

  /** Is a later time set at which it goes by itself? */
  get isWaiting(): boolean {
    return this.#dueAt !== Number.POSITIVE_INFINITY;
  }

  sent(): void {
    this.#sentAt = this.environment.now();
    this.#isUrgent = false;
  }

  /** The server wants to hear nothing for so long; what there is goes then. */
  block(ms: number): void {
    this.#blockedUntil = this.environment.now() + ms;
    this.#clear();
    this.request(false);
  }

  #clear(): void {
    this.environment.clearTimeout(this.#timer);
    this.#dueAt = Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.#clear();
  }
}
