/** Who has the socket and the queue of a store: this client alone, or one of several tabs. */

import type { Connection } from "../api.js";
import type { Sender } from "../documents/context.js";
import type { Meta } from "./notes.js";

/** What the client does in either role. */
export interface LeadEvents {
  /** The store is this tab's: connect with what it holds. */
  lead(): Promise<void>;
  /** It is another's: no connection of one's own. */
  stepDown(): void;
  meta(): Meta;
  onLeader(meta: Meta, connection: Connection): void;
  connection(): Connection;
  wish(isOnline?: boolean, isVisible?: boolean): void;
}

export interface Lead {
  /** Resolves when it is clear who leads. */
  start(): Promise<void>;
  /** Where this client's messages go: the server, or the leading tab. */
  link(server: Sender | null): Sender | null;
  /** The application wants something of the client that only the leading one can do. */
  wish(isOnline?: boolean, isVisible?: boolean): void;
  /** The leading tab's word to the others; nothing from a following one. */
  tellLeading(): void;
  /** The lead isn't wanted any more. */
  abandon(): void;
  close(): void;
}
