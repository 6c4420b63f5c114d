/** Where a browser's story plays: a gateway for each test, one browser, and people who come and go. */

import type { Browser, BrowserContext, BrowserContextOptions } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { FaultProxy } from "../../client/test/faults/proxy.js";
import { Gateway } from "../../client/test/support/gateway.js";
import { openBrowser, Person } from "./people.js";

export class Stage {
  #browser!: Browser;
  #gateway!: Gateway;
  #proxy: FaultProxy | null = null;
  readonly everybody: Person[] = [];

  /** Registers what has to happen before and after each test of a file. No page may have thrown an error. */
  constructor(settings: Record<string, string | number | boolean> = {}) {
    beforeAll(async () => {
      this.#browser = await openBrowser();
    });
    afterAll(async () => {
      await this.#browser?.close();
    });
    afterEach(async () => {
      await this.#proxy?.close();
      this.#proxy = null;
    });
    beforeEach(async () => {
      // The default rate, for people.
      this.#gateway = await Gateway.start({ "limits.operations_per_minute": 100, ...settings });
    });
    afterEach(async () => {
      const people = this.everybody.splice(0);
      const errors = people.flatMap((person) => person.errors);
      for (const person of people) await person.leave();
      await this.#gateway.close();
      expect(errors).toEqual([]);
    });
  }

  get gateway(): Gateway {
    return this.#gateway;
  }

  /** The page's. */
  get address(): string {
    return this.#gateway.url.replace("ws:", "http:").replace("/realtime", "");
  }

  /** The way of everybody who comes from now on, which can be cut. */
  async network(): Promise<FaultProxy> {
    const { host, port } = new URL(this.address);
    const rates = { everyMs: 1_000, delayMs: 0, stallMs: 0 };
    this.#proxy = await FaultProxy.start(Number(port), Math.random, rates);
    this.#proxy.heal();
    await this.#browser.close();
    this.#browser = await openBrowser([host, new URL(this.#proxy.url).host]);
    return this.#proxy;
  }

  async arrive(
    name: string,
    url = this.address,
    prepare?: (context: BrowserContext) => Promise<unknown>,
    options: BrowserContextOptions = {},
  ): Promise<Person> {
    const person = await Person.arrive(this.#browser, url, name, options, prepare);
    this.everybody.push(person);
    return person;
  }

  /** An event that another program made; gives its address. */
  async make(id: string, event: object): Promise<string> {
    await this.edit(id, 0, [{ op: "add", path: "", value: event }]);
    return `${this.address}/#/event/${id}`;
  }

  /** Another program edits an event, of which it has that version. */
  async edit(id: string, version: number, operations: object[]): Promise<void> {
    const edit = { client_id: "program", version, operations };
    await this.#asked(`${id}/operations`, { method: "POST", body: JSON.stringify(edit) });
  }

  async versionOf(id: string): Promise<number> {
    return (await this.#asked(id)).version;
  }

  /** Asked again where many ask at once. */
  async #asked(path: string, request: RequestInit = {}): Promise<{ version: number }> {
    const headers = {
      authorization: `Bearer ${this.#gateway.token("program")}`,
      "content-type": "application/json",
    };
    const answer = await fetch(`${this.address}/v1/resources/event/${path}`, { ...request, headers });
    const text = await answer.text();
    expect(answer.ok || answer.status === 429, text).toBe(true);
    const told = JSON.parse(text);
    if (answer.ok) return told;
    await new Promise((resolve) => setTimeout(resolve, told.retry_after_ms));
    return this.#asked(path, request);
  }

  /** The first fills a field in offline, and the other one the same or another meanwhile; then both are online. */
  async meanwhile(
    one: Person,
    other: Person,
    hers: readonly [field: string, text: string],
    his: readonly [field: string, text: string],
  ): Promise<void> {
    await one.workOffline(true);
    await one.says("offline");
    await one.textbox(hers[0]).fill(hers[1]);
    await other.textbox(his[0]).fill(his[1]);
    await other.says("saved");
    await one.workOffline(false);
  }

  /** Both write a title meanwhile, and the first is asked about it. */
  async dispute(one: Person, other: Person, hers: string, his: string): Promise<void> {
    await this.meanwhile(one, other, ["Title", hers], ["Title", his]);
    await one.conflict.waitFor();
  }

  /** Two people at one event. */
  async together(title: string): Promise<[Person, Person, string]> {
    const ann = await this.arrive("Ann");
    const event = await ann.newEvent(title);
    const bob = await this.arrive("Bob", event);
    await bob.sees("Title", title);
    return [ann, bob, event];
  }
}
