/** A following tab's end: what it hears of the leading one about its documents. */

import type { DocumentSnapshot, Json, Patch, Resolution } from "../api.js";
import type { Refusal } from "../documents/replicator.js";
import type { DocumentState, Leading } from "../documents/state.js";
import type { Registry } from "../registry.js";
import { type Message, type Payload, resourceOf } from "../wire.js";
import type { Standing } from "./notes.js";

const stateOf = (registry: Registry, key: string | null): DocumentState | undefined =>
  registry.documents.find(({ state }) => state.key === key)?.state;

export function onTold(registry: Registry, message: Message): void {
  const state = stateOf(registry, resourceOf(message.payload));
  if (state && message.type === "REFUSED") onRefused(state, message.payload);
  else onNews(registry, state, message);
}

/** What was made here may be among what the server refused, and others may wait here for it to be saved. */
function onRefused(state: DocumentState, { operations, ...error }: Payload): void {
  state.onRefused(error as object as Refusal, operations as object as Patch);
  state.refresh();
}

/** What others deleted while it was edited here is a question here until the leading tab asks it, in each tab. */
function onNews(registry: Registry, state: DocumentState | undefined, message: Message): void {
  const known = state?.conflicts.length;
  registry.onMessage(message);
  if (!state || message.type !== "OP_BROADCAST" || state.view !== null) return;
  for (const conflict of state.conflicts.slice(known)) state.send("LOST", { conflict } as object as Payload);
}

export function onStanding(registry: Registry, key: string, standing: Standing): void {
  const state = stateOf(registry, key);
  if (state) follow(state, standing);
}

/** How a document stands in the leading tab. */
export class Led implements Leading {
  constructor(
    private readonly state: DocumentState,
    private readonly standing: Standing,
  ) {}

  upon(own: DocumentSnapshot<Json>): DocumentSnapshot<Json> {
    const { version, pending, isStored, isLive, conflicts } = this.standing;
    return {
      ...own,
      version,
      pending: own.pending + pending,
      isStored: !own.pending && isStored,
      isLive: own.isLive && isLive,
      conflicts: [...conflicts, ...own.conflicts],
    };
  }

  resolve(conflict: readonly string[], resolution: Resolution): void {
    this.state.send("RESOLVE", { conflict, resolution } as object as Payload);
  }
}

/** The other tab has the conflicts of the time when this one led, and asks what this one found lost since. */
export function follow(state: DocumentState, standing: Standing): void {
  const asked = standing.conflicts.map(({ id }) => id);
  state.conflicts = state.leading ? state.conflicts.filter(({ id }) => !asked.includes(id)) : [];
  state.leading = new Led(state, standing);
  state.role = standing.role;
  state.refresh();
}
