/** One timer at a time: a new one ends the one before. */

import type { Environment } from "./api.js";

export class Timer {
  #timer: unknown = null;

  constructor(private readonly environment: Environment) {}

  set(ms: number, then: () => void): void {
    this.end();
    this.#timer = this.environment.setTimeout(then, ms);
  }

  end(): void {
    this.environment.clearTimeout(this.#timer);
  }
}
