/** The messages of the wire (docs/reference/protocol.md), as far as the client reads them. */

import type { Json, Patch, Summary } from "./api.js";

export type Payload = Record<string, Json>;

export interface Message {
  type: string;
  id: string;
  timestamp: number;
  payload: Payload;
}

/** A committed change, in answers to SUBSCRIBE and SYNC_REQUEST and over HTTP. */
export interface Change {
  version: number;
  operations: Patch;
  client_id: string;
  user_id: string;
  timestamp: number;
  seq?: number;
  undoes?: number;
  conflicts?: WireConflict[];
  summary?: string;
}

/** What became of a submission: an OP_ACK, an answer over HTTP, or one's own change. */
export interface Answer {
  version: number;
  /** Where they aren't what was sent. */
  operations?: Patch;
  conflicts?: WireConflict[];
  /** It was committed before, and is answered again. */
  duplicate?: boolean;
}

export interface WireConflict {
  index: number;
  path: string;
  kind: "overwrote" | "dropped";
  base?: Json;
  theirs?: Json;
  omitted?: ("base" | "theirs")[];
  version?: number;
  user_id?: string;
  timestamp?: number;
}

/** What the server says that a client misses: SUBSCRIBE_ACK, SYNC_RESPONSE, or an HTTP poll. */
export interface Missing {
  version: number;
  epoch: number;
  state?: Json;
  changes?: Change[];
  acks?: (Answer & { seq?: number })[];
  seq_last?: number;
}

export const SUBPROTOCOL = "collab.v1";

/** Asked again, a SUBSCRIBE would get the same answer; after another error it is asked again. */
export const FINAL = ["FORBIDDEN", "INVALID_MESSAGE"];
export const RETRY_MS = 5_000;

/** For how long the server wants to hear nothing; `otherwise` where what it told is no time. */
export const pauseOf = (told: unknown, otherwise: number): number =>
  Number(told) > 0 ? Number(told) : otherwise;

export const keyOf = (type: string, id: string): string => `${type}:${id}`;

/** The resource that a message is about, or null. */
export function resourceOf(payload: Payload): string | null {
  const { resource_type: type = payload.resource, resource_id: id } = payload;
  return typeof type === "string" && typeof id === "string" ? keyOf(type, id) : null;
}

/** A random name of 22 characters; not a secret. */
export function randomName(random: () => number): string {
  return Array.from({ length: 22 }, () => Math.floor(random() * 36).toString(36)).join("");
}

/** A summary of the wire, as the application sees it. */
export function summaryOf(item: Payload): Summary {
  const {
    resource,
    resource_type,
    resource_id,
    version,
    title = null,
    start_time = null,
    end_time = null,
  } = item;
  return {
    type: String(resource_type ?? resource),
    id: String(resource_id),
    version: Number(version),
    title: title as string | null,
    start_time: start_time as string | null,
    end_time: end_time as string | null,
  };
}
