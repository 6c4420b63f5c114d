/** What the tabs of one store tell each other on their channel. */

import type { Conflict, Connection, Role, Sync } from "../api.js";
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

/** What the application asks of the client that has the connection. */
export interface Wish {
  isOnline?: boolean;
  isVisible?: boolean;
}

export type Note =
  /** Who leads? And the user looks at this tab, or doesn't. */
  | { kind: "hello"; isSeen: boolean }
  /** This tab does; told when it begins, when it is asked, when its connection, store or `sync` changes, and to answer a wish. */
  | {
      kind: "leading";
      leader: string;
      meta: Meta;
      connection: Connection;
      /** Of all its documents, also those that a following tab doesn't have open. */
      sync: Sync;
      wanted: Required<Wish>;
      isFailing: boolean;
      /** It is in the background, where it only polls. */
      isSavingPower: boolean;
    }
  /** It is about to, and reads what the one before it had; told when it is asked. */
  | { kind: "reading" }
  /** A tab that is seen would lead in place of one that saves power. */
  | { kind: "yield"; leader: string; tab: string }
  /** It has handed over: that tab may lead, whoever else waits. */
  | { kind: "yielded"; leader: string; tab: string }
  | { kind: "standing"; leader: string; key: string; standing: Standing }
  /** A following tab's message to the leading one, as if to the server; and an answer. */
  | { kind: "say"; leader: string; tab: string; type: string; id: string; payload: Payload }
  | { kind: "tell"; leader: string; tab: string; message: Message }
  /** What the application in a following tab asked of its client; again, until the leading one agrees. */
  | { kind: "wish"; wish: Wish };
