/** What following tabs had made in a document when it was deleted: one question a tab, which the leading one asks. */

import type { Json } from "../api.js";
import { fromMerge, type Unresolved } from "../documents/conflicts.js";
import type { DocumentState } from "../documents/state.js";
import { merge } from "../kernel/index.js";
import type { Change } from "../wire.js";
import { ask } from "./questions.js";

/** The author of questions that have nothing to do with the deletion: they are older, or newer. */
const NOBODY = "";

export class Losses {
  #version = 0; // of the deletion
  #by: Change | undefined; // whose it is, where that is known
  #authors = new Map<string, string>(); // of questions, by their ids

  constructor(private readonly state: DocumentState) {}

  onDeleted(by: Change | undefined): void {
    const { conflicts, confirmed } = this.state;
    this.#version = confirmed.version;
    this.#by = by;
    this.#authors = new Map(conflicts.map(({ id }) => [id, NOBODY]));
  }

  /** What a tab handed over came too late. */
  onLate(tab: string, base: Json, mine: Json): void {
    for (const one of merge(base, mine, null).conflicts)
      this.#ask(tab, fromMerge(one, this.#version, this.#by));
  }

  /** A tab tells of all that it had seen: what came late of it is among that, and so is what was on its way here. */
  onLost(tab: string, lost: Unresolved): void {
    const { state } = this;
    const { flight } = state.replicator;
    const within = state.conflicts.filter((one) => this.#authorOf(one, tab) === tab);
    state.conflicts = state.conflicts.filter((one) => !within.includes(one));
    flight.answeredUpTo = Math.max(flight.answeredUpTo, this.#version);
    if (within.some(({ kind }) => kind === "refused")) state.replicator.decide(false);
    this.#ask(tab, { ...fromMerge(lost, this.#version, this.#by), id: lost.id });
  }

  /** Of the document that is there again since the deletion `tab` hadn't seen anything. */
  #authorOf({ id, version }: Unresolved, tab: string): string {
    return this.#authors.get(id) ?? ((version ?? 0) > this.#version ? NOBODY : tab);
  }

  #ask(tab: string, question: Unresolved): void {
    this.#authors.set(question.id, tab);
    ask(this.state, [question]);
  }
}
