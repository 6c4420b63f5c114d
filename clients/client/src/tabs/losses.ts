/** What following tabs had made in a document when it was deleted: one question a tab, which the leading one asks. */

import type { Json } from "../api.js";
import { fromMerge, type Unresolved } from "../documents/conflicts.js";
import type { DocumentState } from "../documents/state.js";
import { merge } from "../kernel/index.js";

/** The author of questions that are older than the deletion. */
const NOBODY = "";

export class Losses {
  #version = 0; // of the deletion
  #authors = new Map<string, string>(); // of questions, by their ids

  constructor(private readonly state: DocumentState) {}

  onDeleted(): void {
    const { conflicts, confirmed } = this.state;
    this.#version = confirmed.version;
    this.#authors = new Map(conflicts.map(({ id }) => [id, NOBODY]));
  }

  /** What a tab handed over came too late. */
  onLate(tab: string, base: Json, mine: Json): void {
    for (const one of merge(base, mine, null).conflicts) this.#ask(tab, fromMerge(one, this.#version));
  }

  /** A tab tells of all that it had seen: what came late of it is among that, and so is what was on its way here. */
  onLost(tab: string, lost: Unresolved): void {
    const { state } = this;
    const { flight } = state.replicator;
    state.conflicts = state.conflicts.filter(({ id }) => (this.#authors.get(id) ?? tab) !== tab);
    flight.answeredUpTo = Math.max(flight.answeredUpTo, this.#version);
    state.replicator.decide(false);
    this.#ask(tab, { ...fromMerge(lost, this.#version), id: lost.id });
  }

  #ask(tab: string, question: Unresolved): void {
    const { state } = this;
    this.#authors.set(question.id, tab);
    state.onConflicts([question]);
    void state.store();
    state.refresh();
  }
}
