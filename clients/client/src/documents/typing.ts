/** Which edits are typing: those are batched, and undone by the burst rather than by the letter. */

import type { Patch } from "../api.js";

const BURST_MS = 700;

export const isTyping = (patch: Patch): boolean => patch.every((operation) => operation.op === "text");

/** A text that is one value (a title; or two, a time that takes another along) is replaced letter by letter. */
export const mayBeTyping = (patch: Patch): boolean =>
  isTyping(patch) ||
  patch.every((operation) => operation.op === "replace" && typeof operation.value === "string");

export class Bursts {
  #paths = "";
  #at = 0;

  /** Does this edit go on with the burst of the one before it? */
  joins(patch: Patch, now: number): boolean {
    const paths = mayBeTyping(patch) ? patch.map(({ path }) => path).join() : "";
    const joins = paths !== "" && paths === this.#paths && now - this.#at < BURST_MS;
    this.#paths = paths;
    this.#at = now;
    return joins;
  }

  /** The next edit starts anew, whatever it is. */
  end(): void {
    this.#paths = "";
  }
}
