/** A TCP proxy with faults: delays, stalls, cuts, answers that are lost, and times without a network. */

import { createServer, connect as dial, type Server, type Socket } from "node:net";

export interface FaultRates {
  /** The mean time between the faults of one connection, in ms. */
  everyMs: number;
  /** Each piece is delayed by up to so much. */
  delayMs: number;
  stallMs: number;
}

type Fault = "cut" | "stall" | "lost answers";
const FAULTS: readonly Fault[] = ["cut", "stall", "lost answers"];

export class FaultProxy {
  readonly faults: Record<Fault | "refused", number> = { cut: 0, stall: 0, "lost answers": 0, refused: 0 };
  /** Connections are refused. */
  isDown = false;
  #isCut = false;
  #count = 0;
  #server: Server;
  #open = new Set<Socket>();
  #timers = new Set<NodeJS.Timeout>();
  #rates: FaultRates | null;

  private constructor(
    private readonly target: number,
    private readonly random: () => number,
    rates: FaultRates,
  ) {
    this.#rates = rates;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async start(target: number, random: () => number, rates: FaultRates): Promise<FaultProxy> {
    const proxy = new FaultProxy(target, random, rates);
    await new Promise<void>((done) => proxy.#server.listen(0, "127.0.0.1", done));
    return proxy;
  }

  get url(): string {
    const { port } = this.#server.address() as { port: number };
    return `ws://127.0.0.1:${port}/realtime`;
  }

  /** From now on everything passes. What was open while the network was cut is lost. */
  heal(): void {
    this.#rates = null;
    this.isDown = false;
    if (this.#isCut) for (const socket of this.#open) socket.destroy();
    this.#isCut = false;
  }

  /** No network: nothing passes, and nobody is told. */
  cutNetwork(): void {
    this.#isCut = true;
    for (const socket of this.#open) socket.pause();
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const socket of this.#open) socket.destroy();
    await new Promise((done) => this.#server.close(done));
  }

  #later(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    this.#timers.add(timer);
  }

  #accept(client: Socket): void {
    if (this.isDown) {
      this.faults.refused++;
      client.destroy();
      return;
    }
    const server = dial(this.target, "127.0.0.1");
    const pair = { client, server, isDeaf: false };
    for (const socket of [client, server]) {
      this.#open.add(socket);
      if (this.#isCut) socket.pause();
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#open.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
    this.#pass(client, server, () => true);
    this.#pass(server, client, () => !pair.isDeaf);
    this.#plan(pair);
  }

  /** Pieces keep their order: whichever timer fires, the oldest piece goes. */
  #pass(from: Socket, to: Socket, isPassed: () => boolean): void {
    const waiting: Buffer[] = [];
    from.on("data", (piece: Buffer) => {
      if (!isPassed()) return;
      waiting.push(piece);
      this.#later(this.random() * (this.#rates?.delayMs ?? 0), () => {
        const oldest = waiting.shift() as Buffer;
        if (!to.destroyed) to.write(oldest);
      });
    });
  }

  #plan(pair: { client: Socket; server: Socket; isDeaf: boolean }): void {
    if (!this.#rates) return;
    this.#later(2 * this.random() * this.#rates.everyMs, () => {
      if (!this.#rates || pair.client.destroyed) return;
      const fault = FAULTS[this.#count++ % FAULTS.length] as Fault;
      this.faults[fault]++;
      this.#do(fault, pair, this.#rates.stallMs);
      this.#plan(pair);
    });
  }

  #do(fault: Fault, pair: { client: Socket; server: Socket; isDeaf: boolean }, stallMs: number): void {
    if (fault === "cut") pair.client.destroy();
    else if (fault === "stall") {
      const sockets = [pair.client, pair.server];
      for (const socket of sockets) socket.pause();
      this.#later(this.random() * stallMs, () => {
        for (const socket of sockets) socket.resume();
      });
    } else {
      pair.isDeaf = true;
      this.#later(this.random() * stallMs, () => pair.client.destroy());
    }
  }
}
