/** The latest confirmed states of a document, to carry what was told of an older one to the present. */

import type { Json } from "../api.js";
import type { Step } from "./change.js";

const REMEMBERED = 32;

export class Confirmed {
  #states: (Step & { version: number })[] = [];

  add(version: number, after: Json, author: string | null): void {
    const last = this.#states.at(-1);
    if (last?.version === version) return;
    // Going back, or on by more than one, is another history as far as steps are concerned.
    if (last && version < last.version) this.#states = [];
    const by = last?.version === version - 1 ? author : null;
    this.#states.push({ version, before: last?.after ?? null, operations: [], after, author: by });
    if (this.#states.length > REMEMBERED) this.#states.shift();
  }

  /** The changes from a version to the newest; none where the version isn't remembered. */
  since(version: number): Step[] {
    const from = this.#states.findIndex((state) => state.version === version);
    return from < 0 ? [] : this.#states.slice(from + 1);
  }
}
