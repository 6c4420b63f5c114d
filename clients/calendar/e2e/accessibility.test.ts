/** What axe has to say of each page, wide and on a phone, light and dark. */

import { AxeBuilder } from "@axe-core/playwright";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();

const WIDE = { viewport: { width: 1280, height: 860 } };
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
const LOOKS = [
  ["wide, dark", { ...WIDE, colorScheme: "dark" }],
  ["on a phone, light", { ...PHONE, colorScheme: "light" }],
  ["on a phone, dark", { ...PHONE, colorScheme: "dark" }],
  ["wide, light", { ...WIDE, colorScheme: "light" }],
] as const;

/** Each rule that is broken, and where. */
async function violations(page: Page): Promise<unknown[]> {
  const found = await new AxeBuilder({ page }).analyze();
  return found.violations.map(({ id, nodes }) => [id, nodes.map(({ html, any }) => [html, any[0]?.message])]);
}

const shown = (person: Person, text: string | RegExp) => person.page.getByText(text).first().waitFor();

/** What an operator sees, who has signed in by the address. */
async function openConsole({ context }: Person): Promise<Page> {
  const page = await context.newPage();
  const token = stage.gateway.token("operator", { grants: { "node:admin": "admin" } });
  await page.goto(`${stage.gateway.admin}/console#${token}`);
  await page.locator("#sessions").getByText("Ann").first().waitFor();
  return page;
}

test("with high contrast one sees what is on, what was answered, who somebody is, and what can't be done", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await bob.textbox("Start").focus();
  await ann.people.filter({ hasText: "Bob" }).waitFor();
  await ann.page.emulateMedia({ forcedColors: "active" });
  await ann.button("Going").click();
  await ann.page.locator("button[aria-pressed=true]").waitFor();
  const look = (element: Element) => {
    const { color, backgroundColor } = getComputedStyle(element);
    return { color, backgroundColor };
  };
  const initials = ann.people.locator("[aria-hidden]");
  const [his, hers] = [await initials.first().evaluate(look), await initials.last().evaluate(look)];
  expect(his.backgroundColor).not.toBe(hers.backgroundColor);
  expect(await ann.page.locator(".here b").evaluate(look)).toEqual(his);
  const [undo, redo] = [await ann.button("Undo").evaluate(look), await ann.button("Redo").evaluate(look)];
  expect(undo.color).not.toBe(redo.color); // there is nothing to do again
  const knob = (is: "on" | "off") =>
    ann.page
      .locator(`.switch[aria-checked=${is === "on"}]`)
      .first()
      .evaluate((element) => getComputedStyle(element, "::before").backgroundImage);
  const off = await knob("off");
  await ann.workOffline(true);
  const on = await knob("on");
  for (const state of [on, off]) expect(state).toContain("gradient");
  expect(on).not.toBe(off);
  const outline = (button: string) =>
    ann.button(button).evaluate((element) => getComputedStyle(element).outlineStyle);
  expect([await outline("Going"), await outline("Maybe")]).toEqual(["solid", "none"]);
  await ann.page.goto(`${stage.address}/#/month/2021-05`);
  const colour = (day: string) =>
    ann.page.locator(`time[datetime="${day}"]`).evaluate((element) => getComputedStyle(element).color);
  expect(await colour("2021-04-30")).not.toBe(await colour("2021-05-01")); // another month's
});

for (const [look, options] of LOOKS) {
  test(`no page has an accessibility violation: ${look}`, async () => {
    const start = new Date().toISOString();
    const attendees = [{ user_id: "Cleo", response_status: "NEEDS_ACTION" }];
    const event = await stage.make("lunch", {
      title: "Lunch",
      start_time: start,
      end_time: start,
      attendees,
      calendar_id: "demo",
    });
    const ann = await stage.arrive("Ann", stage.address, undefined, options);
    await shown(ann, "Lunch");
    await ann.page.getByRole("link", { name: /Lunch/ }).first().hover();
    expect(await violations(ann.page), "the month").toEqual([]);
    await ann.page.goto(event);
    const bob = await stage.arrive("Bob", event);
    await bob.textbox("Start").focus();
    await ann.button("Going").click();
    await ann.button("Add").click();
    await shown(ann, "Type a name first.");
    await ann.page.getByText("Show a part of it").click();
    await shown(ann, "Bob, editing Start");
    await shown(ann, "answered “Going”");
    expect(await violations(ann.page), "the event").toEqual([]);
    await stage.dispute(ann, bob, "Ann's title", "Bob's title");
    expect(await violations(ann.page), "the conflict").toEqual([]);
    expect(await violations(await openConsole(ann)), "the console").toEqual([]);
    await ann.conflict.getByRole("button", { name: "Keep mine" }).click();
    await ann.button("Sign out").click();
    await ann.textbox("Your name").waitFor();
    await ann.button("Sign in").click();
    await shown(ann, "Type a name first.");
    expect(await violations(ann.page), "the sign-in").toEqual([]);
  });
}

test("whoever reads the page on finds the status once, after it was read out", async () => {
  const ann = await stage.arrive("Ann");
  await ann.newEvent("Lunch");
  const bar = ann.page.locator(".bar");
  const statuses = async () => (await bar.ariaSnapshot()).match(/online, saved/g)?.length;
  await bar.locator("[aria-live=polite]", { hasText: "online, saved" }).waitFor({ state: "attached" });
  await expect.poll(statuses, { timeout: 100_000 }).toBe(1);
  await ann.says("online, saved");
});
