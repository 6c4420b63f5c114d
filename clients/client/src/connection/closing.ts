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
  afterMs?: number | undefined;
}

const SLOW_MS = 60_000;

const verdict = (next: Verdict["next"], reason: ConnectionReason, afterMs?: number): Verdict => ({
  next,
  reason,
  afterMs,
});

export function verdictOf(code: number, reason: string): Verdict {
  switch (code) {
    case 4401:
      return verdict("token", "token");
    case 4403:
      if (reason === "origin") return verdict("deny", "origin");
      return verdict("poll", reason === "killed" ? "killed" : "not_enabled");
    case 4408:
      return verdict("user", "idle");
    case 4409:
      return verdict("deny", "replaced");
    case 4429:
      return verdict("retry", "slow", SLOW_MS);
    case 4503:
      return verdict("retry", "full", paceOf(reason));
    case 1002:
    case 1007:
    case 1008:
    case 1009:
      return verdict("deny", "protocol");
    default:
      return verdict("retry", "lost");
  }
}

function paceOf(reason: string): number | undefined {
  const found = /retry_after_ms=(\d+)/.exec(reason);
  return found ? Number(found[1]) : undefined;
}
