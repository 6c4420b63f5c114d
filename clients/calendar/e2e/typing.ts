/**
 * `npm run typing -- --seconds 30 [--interval 100]`: two people type into one description in a real Chromium, ten keys a second each,
 * and how long each key takes until it is on the other's screen, as JSON in ms.
 *
 * `seen`: from the key to the other's frame that shows it. `waited`: from the key to its patch. `carried`: from the
 * patch to that frame. `--interval` is the client's `typingIntervalMs` (200: at most five patches a second); default: the
 * calendar's own.
 */

import { parseArgs } from "node:util";
import type { BrowserContext, Page } from "playwright-core";
import { Gateway } from "../../client/test/support/gateway.js";
import { openBrowser, Person } from "./people.js";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "30" },
    keys: { type: "string", default: "10" },
    interval: { type: "string" },
  },
});
const COUNT = Number(values.seconds) * Number(values.keys);

/** What one page noted, in Unix ms: each key, how many keys each patch held, and each of the other's keys. */
interface Noted {
  keys: number[];
  patches: { at: number; keys: number }[];
  seen: number[];
}

/** Runs in the page, before its own code. */
function note(): void {
  const noted: Noted = { keys: [], patches: [], seen: [] };
  Object.assign(globalThis, { noted });
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    const { type, payload } = JSON.parse(String(data));
    if (type === "OP") {
      const parts = payload.operations.flatMap(({ value }: { value: unknown }) => value ?? []);
      const keys = parts.filter((part: unknown) => typeof part === "string").join("").length;
      noted.patches.push({ at: performance.timeOrigin + performance.now(), keys });
    }
    send.call(this, data);
  };
}

/** Runs in the page: from now on each key is noted, and in each frame how many of the other's are there. */
function watch([own, other]: [string, string]): void {
  const { noted } = globalThis as unknown as { noted: Noted };
  noted.patches = [];
  const field = document.activeElement as HTMLTextAreaElement;
  const now = () => performance.timeOrigin + performance.now();
  field.addEventListener("beforeinput", (event) => event.data === own && noted.keys.push(now()));
  const look = () => {
    const there = field.value.split(other).length - 1;
    while (noted.seen.length < there) noted.seen.push(now());
    requestAnimationFrame(look);
  };
  look();
}

const result = (page: Page) => page.evaluate(() => (globalThis as unknown as { noted: Noted }).noted);

function quantiles(ms: number[]): Record<string, number> {
  const sorted = ms.slice().sort((one, other) => one - other);
  const at = (part: number) => Math.round(sorted[Math.floor(part * (sorted.length - 1))] ?? Number.NaN);
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}

/** Of each key when its patch went. */
const patchTimes = ({ patches }: Noted): number[] =>
  patches.flatMap(({ at, keys }) => Array.from({ length: keys }, () => at));

function judged(from: Noted, to: Noted) {
  const sent = patchTimes(from);
  const by = (end: number[], start: number[]) => end.map((time, key) => time - (start[key] ?? Number.NaN));
  const first = from.patches[0]?.at ?? 0;
  const seconds = ((from.patches.at(-1)?.at ?? 0) - first) / 1000;
  return {
    keys: from.keys.length,
    patchesASecond: Math.round((10 * (from.patches.length - 1)) / seconds) / 10,
    seen: quantiles(by(to.seen, from.keys)),
    waited: quantiles(by(sent, from.keys)),
    carried: quantiles(by(to.seen, sent)),
  };
}

async function prepare(context: BrowserContext): Promise<void> {
  await context.addInitScript(note);
  if (values.interval === undefined) return;
  await context.route("**/assets/app.js", async (route) => {
    const response = await route.fetch();
    const code = await response.text();
    const changed = code.replace("this.options.typingIntervalMs", String(values.interval));
    if (changed === code) throw new Error("the calendar's file has no typingIntervalMs");
    await route.fulfill({ response, body: changed });
  });
}

const gateway = await Gateway.start({ "limits.operations_per_minute": 100 }); // the default, for people
const browser = await openBrowser();
try {
  const address = gateway.url.replace("ws:", "http:").replace("/realtime", "");
  const ann = await Person.arrive(browser, address, "Ann", {}, prepare);
  const event = await ann.newEvent("Lunch");
  const bob = await Person.arrive(browser, event, "Bob", {}, prepare);
  await ann.textbox("Description").fill("[] []");
  await bob.sees("Description", "[] []");
  const pairs = [
    [ann, 1, "a", "b"],
    [bob, 4, "b", "a"],
  ] as const;
  for (const [person, offset, own, other] of pairs) {
    await person.putCaret("Description", offset);
    await person.page.waitForTimeout(1000);
    await person.page.evaluate(watch, [own, other] as [string, string]);
  }
  const delay = 1000 / Number(values.keys);
  await Promise.all(
    pairs.map(async ([{ page }, , own]) => {
      const start = Date.now();
      for (let key = 0; key < COUNT; key++) {
        await page.waitForTimeout(Math.max(0, start + key * delay - Date.now()));
        await page.keyboard.press(own);
      }
    }),
  );
  const expected = `[${"a".repeat(COUNT)}] [${"b".repeat(COUNT)}]`;
  await Promise.all([ann.sees("Description", expected), bob.sees("Description", expected)]);
  const [a, b] = [await result(ann.page), await result(bob.page)];
  console.log(JSON.stringify({ annToBob: judged(a, b), bobToAnn: judged(b, a) }, null, 2));
} finally {
  await browser.close();
  await gateway.close();
}
