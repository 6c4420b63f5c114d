/**
 * The way to the server: one socket for all documents, and polling where there can't be one.
 *
 *     waiting --timer, network, user--> opening --AUTH_ACK--> online
 *        ^                                 |  \                 |
 *        +------ a socket ended (closing.ts says how) ----------+
 *                                          |  `--> polling --timer--> opening
 *                                          `-----> denied
 *
 * `#enter` is the only way from one phase to another: it ends whatever the old one had going.
 */

import type {
  ClientOptions,
  Connection,
  ConnectionReason,
  ConnectionState,
  Environment,
  Problem,
} from "../api.js";
import { Cell } from "../cell.js";
import { Timer } from "../timer.js";
import type { Message, Payload } from "../wire.js";
import { type Bounds, DEFAULT_BOUNDS, delayMs } from "./backoff.js";
import { type Verdict, verdictOf } from "./closing.js";
import { Link } from "./link.js";

/** What uses the connection. */
export interface Peer {
  /** A new connection, or a renewed token on it. */
  onOnline(link: Link): void;
  onOffline(): void;
  onMessage(message: Message): void;
  /**
   * Over HTTP, as long as it `isOn`: send, and fetch all where it `isWhole`, else what waits to be sent. Rejects where the
   * server can't be reached.
   */
  poll(isOn: () => boolean, isWhole: boolean): Promise<void>;
  tell(problem: Problem): void;
}

type Phase = "paused" | "waiting" | "opening" | "online" | "polling" | "denied" | "closed";

const POLL_MS = 30_000;
const POLL_BACKGROUND_MS = 300_000;
const POLL_SOON_MS = 1_000;
/** So many sockets in a row that never opened, and polling is tried. */
const UNOPENED_MAX = 3;
/** So many fresh tokens in a row that the server refused, and no more are tried. */
const TOKENS_REFUSED_MAX = 3;
const TOKEN_TIMEOUT_MS = 30_000;
/** A connection that lasted so long worked: the next back-off starts from the beginning. */
const WORKED_MS = 5_000;

/** What an AUTH_ACK says to the connection. */
interface Admission {
  reconnect?: Bounds;
  user_id?: string;
  variant?: string;
}

/** What there is to tell of the way itself; whether the user is seen is the client's to know. */
export type Way = Omit<Connection, "isVisible">;

export class ServerConnection {
  readonly state: Cell<Way>;
  #phase: Phase = "paused";
  #link: Link | null = null;
  #timer: Timer;
  #turn = 0; // counts phases, so that what was started in an older one is recognised
  #bounds: Bounds = DEFAULT_BOUNDS;
  #failures = 0;
  #unopened = 0;
  #tokensRefused = 0;
  #onlineSince = Infinity; // not yet
  #isPolling = false; // between polls a socket is tried, which isn't shown
  #isPaced = false; // the server set the pace: no event cuts the wait short
  #isInRound = false; // a round of polling runs
  #isNudged = false; // another comes soon
  #wholeAt = -Infinity; // when everything was polled last
  #goAwayUntil = 0;
  #triedAt = 0; // when a connection was begun last
  #refusal: Payload | undefined; // what this connection was told first, where it wasn't admitted
  #unsubscribe: ((() => void) | undefined)[];

  constructor(
    private readonly options: ClientOptions,
    private readonly clientId: () => string,
    private readonly environment: Environment,
    private readonly peer: Peer,
  ) {
    this.state = new Cell<Way>({
      state: "connecting",
      reason: null,
      retryAt: null,
      userId: options.userId ?? null,
      variant: null,
      isPaused: false,
    });
    this.#timer = new Timer(environment);
    const { network, foreground, activity } = environment;
    this.#unsubscribe = [
      network?.subscribe(() => this.#onNetwork()),
      foreground?.subscribe(() => this.#onForeground()),
      activity?.subscribe(() => this.#onActivity()),
    ];
  }

  get link(): Link | null {
    return this.#phase === "online" ? this.#link : null;
  }

  connect(): void {
    if (this.#phase === "online" || this.#phase === "opening" || this.#phase === "closed") return;
    this.#failures = 0;
    this.#tokensRefused = 0;
    this.#attempt();
  }

  disconnect(): void {
    if (this.#phase === "closed") return;
    this.#isPolling = false;
    this.#enter("paused", "reconnecting", "disconnected");
  }

  close(): void {
    for (const end of this.#unsubscribe) end?.();
    this.#enter("closed", "denied", "disconnected");
  }

  /** There is something to send, or all `isNeeded`: wakes an idle connection, and polls soon. */
  nudge(isNeeded?: boolean): void {
    if (isNeeded) this.#wholeAt = -Infinity;
    if (this.#phase !== "polling") this.#onActivity();
    else if (!this.#isNudged) {
      this.#isNudged = true;
      if (!this.#isInRound) this.#pollLater();
    }
  }

  /** The user looks at another tab, which has all from this one: it is there as if it were seen. */
  onSeen(): void {
    if (this.#phase === "online") this.#link?.probe();
    else if (this.environment.now() - this.#wholeAt > POLL_MS) this.nudge();
  }

  // ---------------------------------------------------------------------------------------------- phases

  #enter(
    phase: Phase,
    state: ConnectionState,
    reason: ConnectionReason | null,
    retryAt: number | null = null,
  ): void {
    const wasOnline = this.#phase === "online";
    this.#phase = phase;
    this.#turn++;
    this.#isInRound = this.#isNudged = false;
    this.#timer.end();
    if (phase !== "online") {
      this.#link?.close();
      this.#link = null;
    }
    if (wasOnline) this.peer.onOffline();
    this.state.update({ state, reason, retryAt, isPaused: phase === "paused" });
  }

  #wait(reason: ConnectionReason, ms: number | null, isPaced = false): void {
    this.#isPaced = isPaced;
    this.#enter("waiting", "reconnecting", reason, ms === null ? ms : Date.now() + ms);
    if (ms !== null) this.#timer.set(ms, () => this.#attempt());
  }

  #backOff(reason: ConnectionReason): void {
    const shown = this.environment.network?.isOn() === false ? "offline" : reason;
    this.#wait(shown, delayMs(this.#failures++, this.#bounds, this.environment.random));
  }

  /** No connection is tried any more until the application wants one. */
  #deny(reason: ConnectionReason): void {
    const refusal = this.#refusal;
    this.#isPolling = false;
    this.#enter("denied", "denied", reason);
    const message = `The connection was denied: ${refusal?.message ?? reason}`;
    this.peer.tell({ code: "DENIED", message, refusal } as Problem);
  }

  // ----------------------------------------------------------------------------------------- the socket

  /** By a socket, except where polling is to save the battery. */
  #attempt(): void {
    this.#triedAt = this.environment.now();
    const { state, reason } = this.state.snapshot;
    const shown = state === "connecting" ? state : "reconnecting";
    if (this.isSavingPower) this.#startPolling(reason);
    else {
      this.#enter("opening", this.#isPolling ? "polling" : shown, reason);
      void this.#open(this.#turn);
    }
  }

  async #open(turn: number): Promise<void> {
    const onFailed = () => this.#ended(["retry", "token"]);
    this.#timer.set(TOKEN_TIMEOUT_MS, onFailed);
    let token: string;
    try {
      token = await this.options.getToken();
    } catch {
      if (turn === this.#turn) onFailed();
      return;
    }
    if (turn !== this.#turn) return;
    this.#timer.end();
    this.#refusal = undefined;
    const auth = { token, client_id: this.clientId(), protocol: 1, user_id: this.options.userId } as Payload;
    const link = new Link(this.#address(), auth, this.environment, {
      onAuthenticated: (payload) => this.#onAuthenticated(payload),
      onMessage: (message) => this.#onMessage(message),
      onProblem: this.peer.tell,
      onClosed: (code, reason, isOpened) => this.#onClosed(link, code, reason, isOpened),
    });
    this.#link = link;
  }

  /** Who was here before says so: in a storm they come first. */
  #address(): string {
    const { url } = this.options;
    return this.#onlineSince < Infinity ? `${url}${url.includes("?") ? "&" : "?"}resume=1` : url;
  }

  /** The first token of a connection, or a renewed one, which may grant more. */
  #onAuthenticated(payload: Payload): void {
    if (this.#phase !== "online") this.#onAdmitted(payload);
    this.peer.onOnline(this.#link as Link);
  }

  #onAdmitted(admission: Admission): void {
    const { reconnect, user_id: userId = null, variant = null } = admission;
    if (reconnect && reconnect.min_ms > 0 && reconnect.min_ms <= reconnect.max_ms) this.#bounds = reconnect;
    this.#unopened = 0;
    this.#tokensRefused = 0;
    this.#isPolling = false;
    this.#goAwayUntil = 0;
    this.#onlineSince = this.environment.now();
    this.#enter("online", "online", null);
    this.state.update({ userId, variant });
  }

  #onMessage(message: Message): void {
    if (message.type === "AUTH_EXPIRING") void this.#renew(this.#turn);
    else if (message.type === "GOAWAY") {
      this.#goAwayUntil = this.environment.now() + (message.payload.reconnect_after_ms as number);
    } else if (this.#phase === "online") this.peer.onMessage(message);
    else this.#refusal ??= message.payload;
  }

  async #renew(turn: number): Promise<void> {
    try {
      const token = await this.options.getToken();
      if (turn === this.#turn) this.#link?.send("AUTH", { token });
    } catch {
      // The server closes with 4401 when the old token ends, and the way back asks again.
    }
  }

  #onClosed(link: Link, code: number, reason: string, isOpened: boolean): void {
    if (link !== this.#link) return;
    if (this.#phase === "online" && this.environment.now() - this.#onlineSince >= WORKED_MS) {
      this.#failures = 0;
    }
    if (!isOpened) this.#unopened++;
    this.#ended(verdictOf(code, reason));
  }

  #ended([next, reason, afterMs]: Verdict): void {
    const now = this.environment.now();
    if (next === "deny") this.#deny(reason);
    else if (next === "user") this.#wait(reason, null);
    else if (next === "token") this.#onTokenRefused();
    else if (next === "poll") this.#startPolling(reason);
    else if (afterMs) this.#wait(reason, this.#jittered(afterMs), true);
    else if (this.#goAwayUntil > now) this.#wait(reason, this.#goAwayUntil - now, true);
    else if (this.#isPolling || this.#unopened >= UNOPENED_MAX) this.#startPolling(reason);
    else this.#backOff(reason);
  }

  #jittered(ms: number): number {
    return ms * (1 + this.environment.random() / 4);
  }

  #onTokenRefused(): void {
    if (++this.#tokensRefused >= TOKENS_REFUSED_MAX) this.#deny("token");
    else if (this.#tokensRefused === 1) this.#attempt();
    else this.#backOff("token");
  }

  // -------------------------------------------------------------------------------------------- polling

  #startPolling(reason: ConnectionReason | null): void {
    this.#isPolling = true;
    this.#wholeAt = -Infinity;
    this.#enter("polling", "polling", reason);
    this.#poll();
  }

  async #poll(): Promise<void> {
    const turn = this.#turn;
    const isOn = () => turn === this.#turn;
    const now = this.environment.now();
    const isWhole = now - this.#wholeAt > POLL_MS;
    if (isWhole) this.#wholeAt = now;
    this.#isInRound = true;
    this.#isNudged = false;
    const failed = await this.peer.poll(isOn, isWhole).catch(() => true);
    if (!isOn()) return;
    this.#isInRound = false;
    if (failed) this.#onPollFailed();
    else this.#pollLater();
  }

  /** Soon, where there is something to send; else sockets may work again: they are tried before, each five minutes in
   * any case. */
  #pollLater(): void {
    const isSoon = this.#isNudged && this.environment.now() - this.#triedAt <= POLL_BACKGROUND_MS;
    const ms = this.#isInBackground() ? POLL_BACKGROUND_MS : POLL_MS;
    this.#timer.set(this.#isNudged ? POLL_SOON_MS : this.#jittered(ms), () =>
      isSoon ? this.#poll() : this.#attempt(),
    );
  }

  #onPollFailed(): void {
    const { reason } = this.state.snapshot;
    if (reason === "killed" || reason === "not_enabled" || this.isSavingPower) {
      this.#pollLater();
      return;
    }
    this.#isPolling = false;
    this.#unopened = UNOPENED_MAX - 1; // neither way works: the next failure tries both again
    this.#backOff("lost");
  }

  // --------------------------------------------------------------------------------------------- events

  #isInBackground(): boolean {
    return this.environment.foreground?.isOn() === false;
  }

  /** Is polling, and that seldom, all that is wanted while nobody looks? */
  get isSavingPower(): boolean {
    return this.options.background === "poll" && this.#isInBackground();
  }

  #onNetwork(): void {
    if (this.environment.network?.isOn()) this.#wake();
    else if (this.#phase === "online") this.#backOff("offline");
  }

  #onForeground(): void {
    if (this.isSavingPower) {
      if (this.#phase === "online" || this.#phase === "opening") this.#attempt();
    } else if (!this.#isInBackground()) this.#wake();
  }

  /** Something changed for the better: a back-off ends, and a connection has to show that it lives. */
  #wake(): void {
    if (this.#phase === "polling" || (this.#phase === "waiting" && !this.#isPaced)) this.#attempt();
    else this.link?.probe();
  }

  #onActivity(): void {
    if (this.#phase === "waiting" && this.state.snapshot.reason === "idle") this.#attempt();
  }
}
