/**
 * Keeps a gateway's console open in a real Chromium, as benchmarks/console.py asks.
 *
 * node scripts/watch-console.mjs URL [PICTURE]: prints "open" when it is live; when its input ends, what it showed
 * then and how often it asked, as JSON.
 */

import chromium from "@sparticuz/chromium";
import { chromium as launcher } from "playwright-core";

const [url, picture] = process.argv.slice(2);
const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"];
const executablePath = process.env.CHROMIUM ?? (await chromium.executablePath());
const browser = await launcher.launch({ executablePath, args: FLAGS, headless: true });

try {
  const page = await browser.newPage({ viewport: { width: 1360, height: 900 } });
  page.setDefaultTimeout(60_000);
  const took = [];
  page.on("requestfinished", (request) => {
    if (request.url().endsWith("/v1/node")) took.push(request.timing().responseEnd);
  });
  await page.goto(url);
  await page.locator("#state").getByText("live").waitFor();
  await page.locator("#watched td").first().waitFor();
  took.length = 0;
  console.log("open");
  for await (const chunk of process.stdin) void chunk;
  const state = await page.locator("#state").textContent();
  const tiles = await page.locator("#tiles > *").allInnerTexts();
  if (picture) await page.screenshot({ path: picture });
  took.sort((one, other) => one - other);
  console.log(JSON.stringify({ state, tiles, asked: took.length, slowest_ms: took.at(-1) ?? 0 }));
} finally {
  await browser.close();
}
