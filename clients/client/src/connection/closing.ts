/** What the client does after each way for a socket to end (docs/reference/protocol.md, "Close codes"). */

import type { ConnectionReason } from "../api.js";

/**
 * - `retry`: back off; `afterMs` is a pace that the server set, which no network event cuts short.
 * - `token`: at once, with a new token.
 * - `user`: when the user is back.
 * - `poll`: over HTTP.
 * - `deny`: never by itself.
 */
export interface Verdict {
  next: "retry" | "token" | "user" | "poll" | "deny";
  reason: ConnectionReason;
  afterMs?: number;
}

const SLOW_MS = 60_000;

export function verdictOf(code: number, reason: string): Verdict {
  switch (code) {
    case 4401:
      return { next: "token", reason: "token" };
    case 4403:
      if (reason === "origin") return { next: "deny", reason: "origin" };
      return { next: "poll", reason: reason === "killed" ? "killed" : "not_enabled" };
    case 4408:
      return { next: "user", reason: "idle" };
    case 4409:
      return { next: "deny", reason: "replaced" };
    case 4429:
      return { next: "retry", reason: "slow", afterMs: SLOW_MS };
    case 4503:
      return { next: "retry", reason: "full", ...paceOf(reason) };
    case 1002:
    case 1007:
    case 1008:
    case 1009:
      return { next: "deny", reason: "protocol" };
    default:
      return { next: "retry", reason: "lost" };
  }
}

function paceOf(reason: string): { afterMs?: number } {
  const found = /retry_after_ms=(\d+)/.exec(reason);
  return found ? { afterMs: Number(found[1]) } : {};
}
