/** A client that shares its store with nobody. */

import type { Sender } from "../documents/context.js";
import type { Keeper } from "../store/keeper.js";
import type { Lead, LeadEvents } from "./lead.js";

export class Alone implements Lead {
  constructor(
    private readonly keeper: Keeper,
    private readonly events: LeadEvents,
  ) {}

  start(): Promise<void> {
    this.keeper.isOwner = true;
    return this.events.lead();
  }

  link(server: Sender | null): Sender | null {
    return server;
  }

  wish(isOnline?: boolean, isVisible?: boolean): void {
    this.events.wish(isOnline, isVisible);
  }

  tellLeading(): void {}
  abandon(): void {}
  close(): void {}
}
