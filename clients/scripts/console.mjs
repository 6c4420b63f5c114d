/**
 * Looks at a gateway's console in a real Chromium, as tests/admin/test_console.py asks: wide, on a phone, dark.
 *
 * node scripts/console.mjs URL FOLDER USER RESOURCE LOOKS: signs in by the address, takes pictures into FOLDER, finds and
 * traces USER, revokes somebody, thinks better of a drain, signs in with the token LOOKS, which may only look, signs out, is thrown
 * out, and prints what it saw as JSON.
 */

import path from "node:path";
import chromium from "@sparticuz/chromium";
import { chromium as launcher } from "playwright-core";

const [url, folder, user, resource, looks] = process.argv.slice(2);
const token = new URL(url).hash.slice(1);
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

const text = (page, id) => page.locator(`#${id}`).textContent();
const overflow = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** The words in `place` that are on more than one line. */
const broken = (page, place) =>
  page.locator(place).evaluate((element) => {
    const found = [];
    const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      for (const word of texts.currentNode.data.matchAll(/\S+/g)) {
        const range = document.createRange();
        range.setStart(texts.currentNode, word.index);
        range.setEnd(texts.currentNode, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map((box) => box.top)).size > 1) found.push(word[0]);
      }
    }
    return found;
  });

/** Which of these places are wider than the page shows of them. */
const cut = (page, ...ids) =>
  page.evaluate(
    (ids) =>
      ids.filter((id) => {
        const section = document.getElementById(id).closest("section");
        return section.scrollWidth > section.clientWidth;
      }),
    ids,
  );

/** How many lines "Sign out" takes beside the name of a node that is too long for a phone. */
const linesOfLeave = (page) =>
  page.evaluate(() => {
    document.querySelector("#name").textContent = "gateway-eu-central-1a-7.example.com";
    const range = document.createRange();
    range.selectNodeContents(document.querySelector("#leave"));
    return range.getClientRects().length;
  });

async function revoke(page, name, reason) {
  await page.fill("#revoke-user", name);
  await page.fill("#revoke-reason", reason);
  await page.locator("#revoke button").click();
  await page.locator("#sure button[value=yes]").click();
}

/** Escape at a question that came after one with a "Yes"; gives what was asked of the node all the same. */
async function escaped(page) {
  const asked = [];
  page.on("request", (request) => request.method() === "POST" && asked.push(request.url()));
  await page.click("#drain");
  await page.locator("#sure").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#sure").waitFor({ state: "hidden" });
  await page.waitForResponse((response) => response.url().endsWith("/v1/node")); // the next round
  return [...asked];
}

/** Another operator traces `resource`, and ends that; gives what the trace is called, and whether it is shown at last. */
async function traced(page, token) {
  const another = (method, body) =>
    fetch(new URL("v1/trace", url), {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
  await another("POST", { resource });
  await page.locator("#traced").getByText(resource, { exact: true }).waitFor();
  const name = await text(page, "traced");
  await another("DELETE");
  await page.locator("#trace-section").waitFor({ state: "hidden" });
  return name;
}

/** Signs in by the form and out again; gives what the next at this screen finds. */
async function signedOut(page, token) {
  await page.fill("#token", token);
  await page.click("#signin-form button");
  await page.locator("#busiest").getByText(resource).waitFor();
  await page.click("#leave");
  await page.locator("#signin").waitFor();
  return {
    token: await page.inputValue("#token"),
    state: await text(page, "state"),
    told: await page.locator("#console").textContent(),
  };
}

/** The operator's own tokens are revoked; gives what the page says of it. */
async function thrownOut(page) {
  const { sub } = JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
  await revoke(page, sub, "");
  await page.locator("#signin-error:not(:empty)").waitFor();
  return text(page, "signin-error");
}

/** The node doesn't answer for a while; gives what the page says then, of an act too, and whether it is live afterwards. */
async function away(page, name) {
  await page.route("**/v1/*", (route) => route.abort());
  await page.locator("#state").getByText("What is below is of").waitFor();
  await revoke(page, "mallory", "");
  await page.locator("#toast.shown").waitFor();
  const told = {
    state: await text(page, "state"),
    act: await text(page, "toast"),
    overflow: await overflow(page),
  };
  await page.screenshot({ path: path.join(folder, name), fullPage: false });
  await page.unroute("**/v1/*");
  await page.locator("#state").getByText("live", { exact: true }).waitFor();
  return told;
}

/** Whoever may only look signs in; gives the traces that were asked for, and how many acts are offered. */
async function looker() {
  const page = await opened({}, url.replace(/#.*/, ""));
  const asked = [];
  page.on("request", (request) => request.url().includes("/v1/trace") && asked.push(request.url()));
  await page.fill("#token", looks);
  await page.click("#signin-form button");
  await page.locator("#acts td").first().waitFor();
  await page.waitForResponse((response) => response.url().endsWith("/v1/node")); // the next round
  return { asked, acts: await page.locator(".operator:visible").count() };
}

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
  await revoke(page, "mallory", "<img src=x onerror=alert(1)>");
  await page.locator("#revocations").getByText("user mallory").waitFor();
  seen.revocations = await text(page, "revocations");
  await page.locator("#acts").getByText("trace.start").first().waitFor();
  seen.acts = await text(page, "acts");
  seen.broken = [...(await broken(page, "#acts")), ...(await broken(page, "#revocations button"))];
  seen.markup = await page.locator("#revocations img").count();
  seen.escaped = await escaped(page);
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: path.join(folder, "console-wide.png"), fullPage: true });
  seen.traced = await traced(page, token);
  const phone = await opened({ viewport: { width: 360, height: 800 }, isMobile: true, colorScheme: "light" });
  await phone.locator("#busiest").getByText(resource).waitFor();
  seen.phoneOverflow = await overflow(phone);
  await phone.waitForTimeout(5_000);
  seen.brokenOnPhone = [...(await broken(phone, "#acts")), ...(await broken(phone, "#flags"))];
  seen.cutOnPhone = await cut(phone, "flags", "revocations", "acts");
  await phone.screenshot({ path: path.join(folder, "console-phone.png"), fullPage: true });
  seen.linesOfLeave = await linesOfLeave(phone);
  const dark = await opened({ viewport: { width: 1360, height: 900 }, colorScheme: "dark" });
  await dark.locator("#busiest").getByText(resource).waitFor();
  await dark.waitForTimeout(5_000); // the charts have something to show
  await dark.screenshot({ path: path.join(folder, "console-dark.png"), fullPage: false });
  seen.away = [await away(dark, "away-dark.png"), await away(phone, "away-phone.png")];
  const stranger = await opened({}, url.replace(/#.*/, ""));
  await stranger.fill("#token", "no token at all");
  errors.length = 0; // the 401 of the next step is one in the browser's eyes
  await stranger.locator("#signin-form button").click();
  await stranger.locator("#signin-error").getByText("token").waitFor();
  seen.refused = await text(stranger, "signin-error");
  seen.looker = await looker();
  seen.signedOut = await signedOut(stranger, token);
  seen.thrownOut = await thrownOut(page);
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
