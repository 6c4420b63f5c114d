/** People in front of a real Chromium, each in a browser profile of their own. */

import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { browserPath } from "./browser.js";

const PATIENCE_MS = 100_000;
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** With `detour` every connection to the first address (`HOST:PORT`) goes to the second one. */
export async function openBrowser(detour?: [string, string]): Promise<Browser> {
  const rule = detour ? [`--host-resolver-rules=MAP ${detour.join(" ")}`] : [];
  return chromium.launch({ executablePath: await browserPath(), args: [...FLAGS, ...rule], headless: true });
}

/** Somebody at the calendar. `context` is their profile: a tab closed and opened again finds its store. */
export class Person {
  private constructor(
    readonly name: string,
    readonly context: BrowserContext,
    readonly page: Page,
    readonly errors: string[],
  ) {}

  /** Opens the address and signs in. */
  static async arrive(
    browser: Browser,
    url: string,
    name: string,
    options = {},
    prepare?: (context: BrowserContext) => Promise<unknown>,
  ): Promise<Person> {
    // A service worker would fetch the page past the routes by which some tests cut the network.
    const context = await browser.newContext({
      viewport: { width: 1280, height: 860 },
      serviceWorkers: "block",
      ...options,
    });
    await prepare?.(context);
    return Person.#in(context, url, name);
  }

  static async #in(context: BrowserContext, url: string, name: string): Promise<Person> {
    context.setDefaultTimeout(PATIENCE_MS);
    const page = await context.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(url);
    const person = new Person(name, context, page, errors);
    await person.textbox("Your name").fill(name);
    await person.button("Sign in").click();
    await page.getByRole("status", { name: "Sync" }).waitFor();
    return person;
  }

  /** The person at a page that was opened otherwise. */
  static at(page: Page, { name, context, errors }: Person): Person {
    page.on("pageerror", (error) => errors.push(String(error)));
    return new Person(name, context, page, errors);
  }

  /** Another tab of the same person: same profile, its own session. */
  anotherTab(url: string): Promise<Person> {
    return Person.#in(this.context, url, this.name);
  }

  textbox(name: string) {
    return this.page.getByRole("textbox", { name, exact: true });
  }

  button(name: string) {
    return this.page.getByRole("button", { name, exact: true });
  }

  get sync() {
    return this.page.getByRole("status", { name: "Sync" });
  }

  get people() {
    return this.page.getByRole("list", { name: "People here" }).getByRole("listitem");
  }

  get conflict() {
    return this.page.getByRole("dialog", { name: "Conflict" });
  }

  /** Answers what the browser asks from now on, each in one way; returns what it asked (no words: the kind). */
  answers(way: "accept" | "dismiss"): string[] {
    const asked: string[] = [];
    this.page.on("dialog", (dialog) => {
      asked.push(dialog.message() || dialog.type());
      void dialog[way]();
    });
    return asked;
  }

  async workOffline(isOffline: boolean): Promise<void> {
    const control = this.page.getByRole("switch", { name: "Work offline" });
    if ((await control.getAttribute("aria-checked")) !== String(isOffline)) await control.click();
  }

  /** Makes an event and returns its address. */
  async newEvent(title: string): Promise<string> {
    await this.button("New event").click();
    await this.textbox("Title").fill(title);
    await this.says("saved");
    return this.page.url();
  }

  /** Puts the caret into a textbox, before the character at an offset. */
  async putCaret(name: string, offset: number): Promise<void> {
    await this.textbox(name).evaluate((field, at) => {
      (field as HTMLTextAreaElement).focus();
      (field as HTMLTextAreaElement).setSelectionRange(at, at);
    }, offset);
  }

  /** Waits until the badge says so: "saved" isn't "not saved". */
  async says(state: string, timeout = PATIENCE_MS): Promise<void> {
    await this.sync.filter({ hasText: new RegExp(`(^|, )${state}`) }).waitFor({ timeout });
  }

  /** Waits until a textbox has a value, also one that takes the place of another meanwhile. */
  async sees(name: string, value: string, timeout = PATIENCE_MS): Promise<void> {
    const handle = await this.textbox(name).elementHandle();
    const end = await this.page.waitForFunction(
      ([box, text]) => {
        const { isConnected, value } = box as HTMLInputElement;
        return isConnected ? value === text && "seen" : "replaced";
      },
      [handle, value] as const,
      { timeout },
    );
    if ((await end.jsonValue()) === "replaced") await this.sees(name, value, timeout);
  }

  /** Waits until the browser's store has so many edits of one document that are still to be sent. */
  async keeps(edits: number): Promise<void> {
    const isKept = async (count: number) => {
      const done = <T>(request: IDBRequest<T>) =>
        new Promise<T>((resolve) => {
          request.onsuccess = () => resolve(request.result);
        });
      const [store] = await indexedDB.databases();
      if (!store?.name) return false;
      const database = await done(indexedDB.open(store.name));
      const records = await done(database.transaction("records").objectStore("records").getAll());
      database.close();
      return records.some((record) => record.edits === count);
    };
    await this.page.waitForFunction(isKept, edits);
  }

  async leave(): Promise<void> {
    await this.context.close();
  }
}
