/** What a document needs of its client. */

import type { Environment, Problem, Strategies } from "../api.js";
import type { HttpApi } from "../http.js";
import type { Keeper } from "../store/keeper.js";
import type { Payload } from "../wire.js";

/** Where messages go while there is a connection. */
export interface Sender {
  /** What the server said that it can do beyond the basics. */
  readonly features: readonly string[];
  /** `message_bytes_max`, where there is one. */
  readonly limits: Payload;
  send(type: string, payload: Payload, id?: string): string;
}

export interface DocumentContext {
  readonly environment: Environment;
  readonly keeper: Keeper;
  readonly http: () => Promise<HttpApi>;
  readonly typingIntervalMs: number;
  clientId(): string;
  strategies(type: string): Strategies;
  link(): Sender | null;
  isVisible(): boolean;
  /** There is something to send, and no connection that would; or something was opened, and all `isNeeded`. */
  nudge(isNeeded?: boolean): void;
  onProblem(problem: Problem): void;
  onChanged(): void;
}
