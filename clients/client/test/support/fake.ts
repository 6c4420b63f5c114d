/** The platform and the other end of the wire, in memory, for tests that turn the clock themselves. */

import type { Environment, Signal, Socket } from "@collab/client";
// What a client loads when it is needed is there already: loading takes time that isn't in the test's hand.
import "../../src/documents/polling.js";
import "../../src/http.js";
import "../../src/listings.js";

interface Sent {
  type: string;
  id: string;
  payload: Record<string, unknown>;
}

/** One socket, seen from the server's end. */
export class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  readonly sent: Sent[] = [];
  isClosedByClient = false;

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Sent);
  }

  close(): void {
    this.isClosedByClient = true;
  }

  /** The last message of a type that the client sent. */
  last(type: string): Sent | undefined {
    return this.sent.filter((message) => message.type === type).at(-1);
  }

  accept(): void {
    this.onopen?.();
  }

  tell(type: string, payload: object = {}): void {
    this.onmessage?.({ data: JSON.stringify({ type, id: "s", timestamp: 0, payload }) });
  }

  end(code: number, reason = ""): void {
    this.onclose?.({ code, reason });
  }

  /** Opened and authenticated. */
  admit(payload: object = {}): void {
    this.accept();
    this.tell("AUTH_ACK", { user_id: "ann", limits: {}, ...payload });
  }
}

export class FakeSignal implements Signal {
  #isOn = true;
  #listeners = new Set<() => void>();

  isOn(): boolean {
    return this.#isOn;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  turn(isOn: boolean): void {
    this.#isOn = isOn;
    this.tell();
  }

  tell(): void {
    for (const listener of this.#listeners) listener();
  }

  get listeners(): number {
    return this.#listeners.size;
  }
}

/** What a client asked over HTTP, and what it gets: a text is a page of something before the gateway. */
export type Answer = (method: string, url: URL, body: unknown) => Answered | Error | Promise<Answered>;
export type Answered = { status: number; body?: object | string };

function response(status: number, body: object | string = {}): Response {
  if (typeof body === "string")
    return new Response(body, { status, headers: { "content-type": "text/html" } });
  const type = status < 400 ? "application/json" : "application/problem+json";
  return new Response(status === 304 ? null : JSON.stringify(body), {
    status,
    headers: { "content-type": type },
  });
}

export class FakePlatform {
  readonly sockets: FakeSocket[] = [];
  readonly addresses: string[] = [];
  readonly requests: string[] = [];
  readonly network = new FakeSignal();
  readonly foreground = new FakeSignal();
  readonly activity = new FakeSignal();
  jitter = 0.5;
  answer: Answer = () => new TypeError("fetch failed");

  get socket(): FakeSocket {
    const last = this.sockets.at(-1);
    if (!last) throw new Error("no socket was opened");
    return last;
  }

  environment(): Partial<Environment> {
    return {
      webSocket: (url) => {
        this.addresses.push(url);
        this.sockets.push(new FakeSocket());
        return this.socket;
      },
      fetch: async (url, init) => {
        const method = init.method ?? "GET";
        this.requests.push(`${method} ${new URL(url).pathname}${new URL(url).search}`);
        const body = init.body === undefined ? undefined : JSON.parse(String(init.body));
        const answer = await this.answer(method, new URL(url), body);
        if (answer instanceof Error) throw answer;
        return response(answer.status, answer.body);
      },
      random: () => this.jitter,
      network: this.network,
      foreground: this.foreground,
      activity: this.activity,
      locks: null,
      channel: null,
    };
  }
}
