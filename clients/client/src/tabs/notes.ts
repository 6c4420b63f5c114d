/** What the tabs of one store tell each other on their channel. */

import type { Conflict, Connection, Role } from "../api.js";
import type { Message, Payload } from "../wire.js";

/** What one store's client is called, and whose it is. */
export interface Meta {
  clientId: string;
  userId: string | null;
}

/** What only the leading tab knows of a document: how its edits stand with the server. */
export interface Standing {
  version: number;
  role: Role | null;
  pending: number;
  isStored: boolean;
  isLive: boolean;
  conflicts: readonly Conflict[];
}

export type Note =
  /** Who leads? */
  | { kind: "hello" }
  /** This tab does; told when it begins, when it is asked, and when its connection or visibility changes. */
  | { kind: "leading"; leader: string; meta: Meta; connection: Connection; isVisible: boolean }
  | { kind: "standing"; leader: string; key: string; standing: Standing }
  /** A following tab's message to the leading one, as if to the server; and an answer. */
  | { kind: "say"; leader: string; tab: string; type: string; id: string; payload: Payload }
  | { kind: "tell"; tab: string; message: Message }
  /** What the application in a following tab asked of its client. */
  | { kind: "wish"; isOnline?: boolean; isVisible?: boolean };
