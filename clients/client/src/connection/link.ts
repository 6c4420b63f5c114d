/** One socket: authenticates, reads and writes messages, and notices when the other end is gone. */

import type { Environment, Problem, Socket } from "../api.js";
import { Timer } from "../timer.js";
import { type Message, type Payload, SUBPROTOCOL } from "../wire.js";

interface LinkEvents {
  onAuthenticated(payload: Payload): void;
  onMessage(message: Message): void;
  onProblem(problem: Problem): void;
  /** Once; `isOpened`: the handshake had succeeded. */
  onClosed(code: number, reason: string, isOpened: boolean): void;
}

const OPEN_TIMEOUT_MS = 15_000;
/** Without a word for so long, from it or to it, the server is asked for one ... */
const QUIET_MS = 20_000;
/** ... and without an answer the connection counts as lost. */
const ANSWER_TIMEOUT_MS = 10_000;
const LOST = 1006;

export class Link {
  limits: Payload = {};
  features: readonly string[] = [];
  #socket: Socket | null = null;
  #isOpened = false;
  #timer: Timer;
  #sent = 0;
  #heardAt: number | null = null; // null: an answer is awaited
  #saidAt = 0; // who only reads says nothing, and counts as idle

  constructor(
    url: string,
    auth: Payload,
    private readonly environment: Environment,
    private readonly events: LinkEvents,
  ) {
    this.#timer = new Timer(environment);
    this.#timer.set(OPEN_TIMEOUT_MS, () => this.#end());
    let socket: Socket;
    try {
      socket = environment.webSocket(url, [SUBPROTOCOL]);
    } catch {
      this.#timer.set(0, () => this.#end());
      return;
    }
    this.#socket = socket;
    socket.onopen = () => {
      this.#isOpened = true;
      this.send("AUTH", auth);
    };
    socket.onmessage = (event) => this.#onMessage(event.data);
    socket.onclose = (event) => this.#end(event.code, event.reason);
    socket.onerror = () => {}; // a close follows
  }

  /** Sends a message and gives its id; on a socket that is closing it goes nowhere, and `onClosed` follows. */
  send(type: string, payload: Payload, id: string = String(++this.#sent)): string {
    this.#saidAt = this.environment.now();
    this.#socket?.send(JSON.stringify({ type, id, timestamp: Date.now(), payload }));
    return id;
  }

  /** Make the server show that it is there. */
  probe(): void {
    if (this.#heardAt === null) return; // asked again and again it would never count as lost
    this.#heardAt = null;
    this.send("PING", {});
    this.#timer.set(ANSWER_TIMEOUT_MS, () => this.#end());
  }

  /** Ends it without a word to `events`. */
  close(): void {
    const socket = this.#socket;
    this.#timer.end();
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000, "");
  }

  /** Without a word of the other end it is lost; React Native on iOS has null for no reason. */
  #end(code = LOST, reason?: string | null): void {
    this.close();
    this.events.onClosed(code, reason ?? "", this.#isOpened);
  }

  #onMessage(data: unknown): void {
    const isWatched = this.#heardAt !== null;
    this.#heardAt = this.environment.now();
    if (!isWatched) this.#timer.set(QUIET_MS, () => this.#onQuiet());
    try {
      this.#read(JSON.parse(String(data)));
    } catch (cause) {
      this.events.onProblem({ code: "ERROR", message: "A message can't be read.", cause });
      this.#end(); // what it said comes over the next connection
    }
  }

  #read(message: Message): void {
    if (message.type === "AUTH_ACK") {
      const { limits = this.limits, features = this.features } = message.payload;
      this.limits = limits as Payload;
      this.features = features as string[];
      this.events.onAuthenticated(message.payload);
    } else this.events.onMessage(message);
  }

  /** In the background no PING is sent: an idle client is closed after a while (4408), which saves both ends. */
  #onQuiet(): void {
    const left = Math.min(this.#heardAt ?? 0, this.#saidAt) + QUIET_MS - this.environment.now();
    const isAsleep = this.environment.foreground?.isOn() === false;
    if (left <= 0 && !isAsleep) this.probe();
    else this.#timer.set(left > 0 ? left : QUIET_MS, () => this.#onQuiet());
  }
}
