/** A gateway process of the test's own, on free ports and a directory of its own. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = process.env.GATEWAY_ROOT ?? resolve(fileURLToPath(import.meta.url), "../../../../..");
const READY = /ready ws=(\S+) admin=(\S+) pid=(\d+)/;

/** The Python that has the gateway's dependencies. */
function python(): string {
  const own = join(ROOT, ".venv/bin/python");
  return process.env.GATEWAY_PYTHON ?? (existsSync(own) ? own : "python3");
}

export interface Claims {
  grants?: Record<string, string>;
  ttlS?: number;
  name?: string;
  avatarUrl?: string;
}

export class Gateway {
  url = "";
  admin = "";
  readonly log: string[] = [];
  #process: ChildProcess | null = null;
  #ended: Promise<unknown> = Promise.resolve(); // its children too, which hold its stderr

  private constructor(
    readonly data: string,
    private readonly settings: Record<string, string | number | boolean>,
  ) {}

  static async start(settings: Record<string, string | number | boolean> = {}): Promise<Gateway> {
    const gateway = new Gateway(mkdtempSync(join(tmpdir(), "gateway-")), {
      "limits.operations_per_minute": 0,
      ...settings,
    });
    await gateway.run();
    return gateway;
  }

  /** Start the process; after `kill`, again on the same data and the same port. */
  async run(): Promise<void> {
    const port = this.url ? new URL(this.url).port : "0";
    const options = ["--port", port, "--admin-port", "0", "--data", this.data, "--log-level", "warning"];
    this.configure("");
    options.push("--config", this.#config);
    const sets = Object.entries(this.settings).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
    const started = spawn(python(), ["-m", "gateway", "serve", ...options, ...sets], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, PYTHONPATH: ROOT },
    });
    this.#process = started;
    this.#ended = new Promise((done) => started.once("close", done));
    started.stderr.on("data", (text) => this.log.push(String(text)));
    for await (const line of createInterface(started.stdout)) {
      const found = READY.exec(line);
      if (!found) continue;
      [, this.url = "", this.admin = ""] = found;
      started.stdout.resume();
      return;
    }
    throw new Error(`the gateway didn't start: ${this.log.join("")}`);
  }

  get #config(): string {
    return join(this.data, "gateway.toml");
  }

  /** The configuration file, which a running gateway reads again. */
  configure(toml: string): void {
    writeFileSync(this.#config, toml);
    this.#process?.kill("SIGHUP");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    this.#process?.kill(signal);
    this.#process = null;
    await this.#ended;
  }

  /** As retention does: the gateway starts again without a resource's changes up to a version. */
  async trim(resource: string, upto: number): Promise<void> {
    await this.terminate();
    const words = ["-m", "tests.clients.trim", this.data, resource, String(upto)];
    execFileSync(python(), words, { cwd: ROOT });
    await this.run();
  }

  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  terminate(): Promise<void> {
    return this.#end("SIGTERM");
  }

  async close(): Promise<void> {
    await this.#end("SIGTERM");
    rmSync(this.data, { recursive: true, force: true });
  }

  /** A token of this node; without grants one that may do everything with events and calendars. */
  token(user: string, { grants, ttlS = 3600, name = user, avatarUrl }: Claims = {}): string {
    const secret = readFileSync(join(this.data, "jwt-secret"), "utf8").trim();
    const granted = grants ?? { "event:*": "admin", "calendar:*": "admin" };
    const claims = { sub: user, name, avatar_url: avatarUrl, exp: Date.now() / 1000 + ttlS, grants: granted };
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
    return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
  }
}
