/** A following tab's end: what it hears of the leading one about its documents. */

import type { DocumentState } from "../documents/state.js";
import type { Registry } from "../registry.js";
import { type Message, type Payload, resourceOf } from "../wire.js";
import type { Standing } from "./notes.js";

const stateOf = (registry: Registry, key: string | null): DocumentState | undefined =>
  registry.documents.find(({ state }) => state.key === key)?.state;

/** What others deleted while it was edited here is a question here until the leading tab asks it, in each tab. */
export function onTold(registry: Registry, message: Message): void {
  const state = stateOf(registry, resourceOf(message.payload));
  const known = state?.conflicts.length;
  registry.onMessage(message);
  if (!state || message.type !== "OP_BROADCAST") return;
  for (const conflict of state.conflicts.slice(known)) state.send("LOST", { conflict } as object as Payload);
}

export function onStanding(registry: Registry, key: string, standing: Standing): void {
  const state = stateOf(registry, key);
  if (state) follow(state, standing);
}

/** The other tab has the conflicts of the time when this one led, and asks what this one found lost since. */
export function follow(state: DocumentState, standing: Standing): void {
  const asked = standing.conflicts.map(({ id }) => id);
  state.conflicts = state.leading ? state.conflicts.filter(({ id }) => !asked.includes(id)) : [];
  state.leading = standing;
  state.role = standing.role;
  state.refresh();
}
