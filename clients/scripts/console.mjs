/**
 * Looks at a gateway's console in a real Chromium, as tests/admin/test_console.py asks: wide, on a phone, dark.
 *
 * node scripts/console.mjs URL FOLDER USER RESOURCE: signs in by the address, takes pictures into FOLDER, finds and
 * traces USER, revokes somebody, and prints what it saw as JSON.
 */

import path from "node:path";
import chromium from "@sparticuz/chromium";
import { chromium as launcher } from "playwright-core";

const [url, folder, user, resource] = process.argv.slice(2);
const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"];
const executablePath = process.env.CHROMIUM ?? (await chromium.executablePath());
const browser = await launcher.launch({ executablePath, args: FLAGS, headless: true });
const errors = [];

async function opened(options, address = url) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(address);
  return page;
}

const text = (page, id) => page.locator(`#${id}`).innerText();
const overflow = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

try {
  const seen = { errors };
  const page = await opened({ viewport: { width: 1360, height: 900 }, colorScheme: "light" });
  await page.locator("#busiest").getByText(resource).waitFor();
  await page.locator("#sessions").getByText(user).first().waitFor();
  seen.address = page.url();
  seen.state = await text(page, "state");
  seen.tiles = await text(page, "tiles");
  seen.workers = await text(page, "workers");
  seen.watched = await text(page, "watched");
  seen.archive = await text(page, "archive");
  await page.fill("#find-text", user);
  await page.click("#trace");
  await page.locator("#events li").first().waitFor();
  seen.events = await text(page, "events");
  await page.fill("#revoke-user", "mallory");
  await page.fill("#revoke-reason", "<img src=x onerror=alert(1)>");
  await page.locator("#revoke button").click();
  await page.locator("#sure button[value=yes]").click();
  await page.locator("#revocations").getByText("user mallory").waitFor();
  seen.revocations = await text(page, "revocations");
  await page.locator("#acts").getByText("trace.start").first().waitFor();
  seen.acts = await text(page, "acts");
  seen.markup = await page.locator("#revocations img").count();
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: path.join(folder, "console-wide.png"), fullPage: true });
  const phone = await opened({ viewport: { width: 390, height: 844 }, isMobile: true, colorScheme: "light" });
  await phone.locator("#busiest").getByText(resource).waitFor();
  seen.phoneOverflow = await overflow(phone);
  await phone.waitForTimeout(5_000);
  await phone.screenshot({ path: path.join(folder, "console-phone.png"), fullPage: true });
  const dark = await opened({ viewport: { width: 1360, height: 900 }, colorScheme: "dark" });
  await dark.locator("#busiest").getByText(resource).waitFor();
  await dark.waitForTimeout(5_000); // the charts have something to show
  await dark.screenshot({ path: path.join(folder, "console-dark.png"), fullPage: false });
  const stranger = await opened({}, url.replace(/#.*/, ""));
  await stranger.fill("#token", "no token at all");
  errors.length = 0; // the 401 of the next step is one in the browser's eyes
  await stranger.locator("#signin-form button").click();
  await stranger.locator("#signin-error").getByText("token").waitFor();
  seen.refused = await text(stranger, "signin-error");
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
