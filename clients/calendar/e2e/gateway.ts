/** A real gateway for a test: `gateway serve` in a process of its own, on free ports. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const VENV = join(ROOT, ".venv/bin/python");
const PYTHON = process.env.PYTHON ?? (existsSync(VENV) ? VENV : "python3");

export class Gateway {
  #process: ChildProcess | null = null;
  #port = 0;
  readonly #data = mkdtempSync(join(tmpdir(), "calendar-test-"));

  constructor(readonly settings: readonly string[] = []) {}

  /** The page's address. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts it; again on the same port and data after `kill`. */
  async start(): Promise<void> {
    const words = [
      "-m",
      "gateway",
      "serve",
      "--data",
      this.#data,
      "--port",
      String(this.#port),
      "--admin-port",
      "0",
    ];
    const { GATEWAY_CONFIG: _, ...environment } = process.env;
    const child = spawn(PYTHON, [...words, ...this.settings], {
      cwd: ROOT,
      env: { ...environment, PYTHONPATH: ROOT },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#process = child;
    for await (const line of createInterface({ input: child.stdout! })) {
      const ready = /ready ws=ws:\/\/[^:]+:(\d+)\//.exec(line);
      if (!ready) continue;
      this.#port = Number(ready[1]);
      child.stdout!.resume();
      return;
    }
    throw new Error("the gateway ended before it was ready");
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (!child || child.exitCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#data, { recursive: true, force: true });
  }
}
