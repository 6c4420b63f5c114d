/** Which edits are typing: those are batched, and undone by the burst rather than by the letter. */

import type { Patch } from "../api.js";

const BURST_MS = 700;

export const isTyping = (patch: Patch): boolean => patch.every((operation) => operation.op === "text");

/** A text that is one value (a title) is replaced letter by letter: in succession, that is typing as well. */
export const mayBeTyping = (patch: Patch): boolean =>
  isTyping(patch) || (patch.length === 1 && patch[0]?.op === "replace" && typeof patch[0].value === "string");

export class Bursts {
  #path: string | null = null;
  #at = 0;

  /** Does this edit go on with the burst of the one before it? */
  joins(patch: Patch, now: number): boolean {
    const path = patch.length === 1 && mayBeTyping(patch) ? (patch[0]?.path ?? null) : null;
    const joins = path !== null && path === this.#path && now - this.#at < BURST_MS;
    this.#path = path;
    this.#at = now;
    return joins;
  }

  /** The next edit starts anew, whatever it is. */
  end(): void {
    this.#path = null;
  }
}
