/** What the client does after each way for a socket to end (docs/reference/protocol.md, "Close codes"). */

import type { ConnectionReason } from "../api.js";
import { pauseOf } from "../wire.js";

/**
 * - `retry`: back off; `afterMs` is a pace that the server set, which no network event cuts short.
 * - `token`: at once, with a new token.
 * - `user`: when the user is back.
 * - `poll`: over HTTP.
 * - `deny`: never by itself.
 */
export type Verdict = readonly [
  next: "retry" | "token" | "user" | "poll" | "deny",
  reason: ConnectionReason,
  afterMs?: number,
];

const SLOW_MS = 60_000;

export function verdictOf(code: number, reason: string): Verdict {
  switch (code) {
    case 4401:
      return ["token", "token"];
    case 4403:
      if (reason === "origin") return ["deny", "origin"];
      return ["poll", reason === "killed" ? "killed" : "not_enabled"];
    case 4408:
      return ["user", "idle"];
    case 4409:
      return ["deny", "replaced"];
    case 4429:
      return ["retry", "slow", SLOW_MS];
    case 4503:
      return ["retry", "full", pauseOf(reason.split("=")[1], 0)]; // retry_after_ms=N
    case 1002:
    case 1007:
    case 1008:
    case 1009:
      return ["deny", "protocol"];
    default:
      return ["retry", "lost"];
  }
}
