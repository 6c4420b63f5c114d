/** A value that changes and tells: the one implementation of `Readable`. */

import type { Readable } from "./api.js";

export class Listeners<A extends readonly unknown[] = []> {
  #all: Set<(...args: A) => void> | null = null; // there are many of these, and most have nobody

  add(listener: (...args: A) => void): () => void {
    // Wrapped, so that the same function may be added twice and removed once.
    const entry = (...args: A) => listener(...args);
    this.#all ??= new Set();
    this.#all.add(entry);
    return () => {
      this.#all?.delete(entry);
    };
  }

  /** A listener that throws doesn't keep the others, or the client, from working: its error is the page's. */
  tell(...args: A): void {
    if (!this.#all) return;
    for (const listener of [...this.#all]) {
      try {
        listener(...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

export class Cell<S> implements Readable<S> {
  #snapshot: S;
  #listeners = new Listeners();

  constructor(snapshot: S) {
    this.#snapshot = snapshot;
  }

  get snapshot(): S {
    return this.#snapshot;
  }

  subscribe = (listener: () => void): (() => void) => this.#listeners.add(listener);

  /** Members that are equal to what they were change nothing. */
  update(changes: Partial<S>): void {
    const names = Object.keys(changes) as (keyof S)[];
    if (names.every((name) => Object.is(changes[name], this.#snapshot[name]))) return;
    this.#snapshot = Object.freeze({ ...this.#snapshot, ...changes });
    this.#listeners.tell();
  }
}
