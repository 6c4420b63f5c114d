/** Names and texts as people have them: long ones, blank ones, and such that are read from right to left. */

import type { Locator } from "playwright-core";
import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();
const NARROW = { viewport: { width: 320, height: 568 } };

const overflow = ({ page }: Person) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

const LONG = "W".repeat(60);

/** Lines of somebody's box that its round corners cut. */
function cut(person: Element): string[] {
  const box = person.getBoundingClientRect();
  const told = Number.parseFloat(getComputedStyle(person).borderTopLeftRadius);
  const radius = Math.min(told, box.width / 2, box.height / 2);
  const text = document.createRange();
  text.selectNodeContents(person.querySelector("b") as Element);
  const isCut = ({ left, right, top, bottom }: DOMRect) =>
    [left - box.left, box.right - right].some((aside) =>
      [top - box.top, box.bottom - bottom].some(
        (apart) => aside < radius && apart < radius && Math.hypot(radius - aside, radius - apart) > radius,
      ),
    );
  return [...text.getClientRects()].filter(isCut).map(({ top }) => `at ${top - box.top}`);
}

test("the longest name makes no page wider than its window", async () => {
  const event = await stage.make("lunch", { title: "Lunch", calendar_id: "demo" });
  const ann = await stage.arrive(LONG, stage.address, undefined, NARROW);
  expect(await overflow(ann)).toBe(0);
  await ann.page.goto(event);
  await ann.people.filter({ hasText: LONG }).waitFor();
  expect(await overflow(ann)).toBe(0);
  expect(await ann.people.evaluate(cut)).toEqual([]);
});

test("an event whose hour is there twice is no wider than a small window that is zoomed to twice its size", async () => {
  const times = { start_time: "2026-11-01T05:30:00Z", end_time: "2026-11-01T06:30:00Z" };
  const event = await stage.make("shift", { title: "Shift", calendar_id: "demo", ...times });
  const zoomed = { viewport: { width: 180, height: 320 }, timezoneId: "America/New_York" };
  const ann = await stage.arrive("Ann", event, undefined, zoomed);
  await ann.page.getByRole("combobox", { name: "End: which of two hours" }).waitFor();
  expect(await overflow(ann)).toBe(0);
});

test("a conflict of long names is told and asked about within the window", async () => {
  const event = await stage.make("lunch", { title: "Lunch", calendar_id: "demo" });
  const ann = await stage.arrive("Ann", event, undefined, NARROW);
  const other = await stage.arrive(LONG, event);
  for (const person of [ann, other]) await person.sees("Title", "Lunch");
  await ann.workOffline(true);
  await ann.says("offline");
  await ann.textbox("Title").fill("M".repeat(400));
  await ann.page.getByRole("link", { name: "Calendar", exact: true }).click();
  await other.textbox("Title").fill("Dinner");
  await other.says("saved");
  await ann.workOffline(false);
  const told = ann.page
    .getByRole("alert")
    .filter({ hasText: "was changed by somebody else too" })
    .filter({ hasText: "MMM" });
  await told.waitFor();
  const hidden = (element: Element) => element.scrollWidth - element.clientWidth;
  expect(await told.evaluate(hidden)).toBe(0);
  await told.getByRole("link").click();
  await ann.conflict.waitFor();
  expect(await ann.conflict.evaluate(hidden)).toBe(0);
});

const TEAM = "اجتماع الفريق مع كل الأقسام في المقر الجديد";

test("what is read from right to left begins on the right, and others' carets stand where they are", async () => {
  const [ann, bob] = await stage.together("Lunch");
  for (const field of ["Title", "Description"]) {
    await ann.textbox(field).fill(TEAM);
    await bob.sees(field, TEAM);
    await bob.textbox(field).press("Home");
    const caret = ann.page.locator(".collab-caret");
    await caret.waitFor();
    const fromRight = async () => {
      const [box, at] = [await ann.textbox(field).boundingBox(), await caret.boundingBox()];
      return box && at && box.x + box.width - at.x;
    };
    await expect.poll(fromRight, { timeout: 100_000 }).toBeLessThan(20);
    await bob.textbox("Start").focus();
    await caret.waitFor({ state: "detached" });
  }
});

test("on a page that is read from right to left carets stand where they are in what is read from the left", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.page.evaluate(() => {
    document.documentElement.dir = "rtl";
  });
  for (const field of ["Title", "Description"]) {
    await ann.textbox(field).fill("Lunch");
    await bob.sees(field, "Lunch");
    await bob.textbox(field).press("Home");
    const caret = ann.page.locator(".collab-caret");
    await caret.waitFor();
    const fromLeft = async () => {
      const [box, at] = [await ann.textbox(field).boundingBox(), await caret.boundingBox()];
      return box && at && at.x - box.x;
    };
    await expect.poll(fromLeft, { timeout: 100_000 }).toBeLessThan(20);
    await bob.textbox("Start").focus();
    await caret.waitFor({ state: "detached" });
  }
});

test("on a page that is read from right to left nothing stands on a day's number", async () => {
  const ann = await stage.arrive("Ann");
  /** Does one stand on the other, in the row that both are in? */
  const isOn = async (one: Locator, other: Locator) => {
    const [a, b] = [await one.boundingBox(), await other.boundingBox()];
    return !a || !b || (a.x < b.x + b.width && b.x < a.x + a.width);
  };
  await ann.page.goto(`${stage.address}/#/month/2021-02`);
  await ann.page.evaluate(() => {
    document.documentElement.dir = "rtl";
  });
  const add = ann.button("New event on February 17");
  await add.focus();
  expect(await isOn(add, ann.page.locator("time[datetime='2021-02-17']"))).toBe(false);
});

test("a name that turns what follows it turns itself alone", async () => {
  const event = await stage.make("lunch", { title: "Lunch", calendar_id: "demo" });
  const ann = await stage.arrive("\u202eAnn", event);
  await ann.textbox("Title").fill("Dinner");
  /** Do the words that end so, behind the name, run from left to right, and to the right of it? */
  const isAfter = (place: Locator, words: string) =>
    place.evaluate((element, text) => {
      const all = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
      const nodes: Text[] = [];
      while (all.nextNode()) nodes.push(all.currentNode as Text);
      const leftOf = (node: Text, at: number) => {
        const range = document.createRange();
        range.setStart(node, at);
        range.setEnd(node, at + 1);
        return range.getBoundingClientRect().left;
      };
      const after = nodes.find((node) => node.data.endsWith(text)) as Text;
      const name = nodes.find((node) => node.data.endsWith("Ann")) as Text;
      const first = after.length - text.length;
      return leftOf(name, 1) < leftOf(after, first) && leftOf(after, first) < leftOf(after, after.length - 1);
    }, words);
  const self = ann.people.filter({ hasText: "(you)" });
  await self.waitFor();
  expect(await isAfter(self, "(you)")).toBe(true);
  const change = ann.page
    .getByRole("region", { name: "History" })
    .getByRole("listitem")
    .filter({ hasText: "Ann" });
  await change.waitFor();
  expect(await isAfter(change, "set the title to “Dinner”")).toBe(true);
  expect(await isAfter(ann.page.locator(".me"), "Sign out")).toBe(true);
  const bob = await stage.arrive("Bob", event);
  await bob.sees("Title", "Dinner");
  await stage.dispute(bob, ann, "Supper", "Brunch");
  expect(await isAfter(bob.conflict.locator("p"), "changed ")).toBe(true);
});

test("in the month a title begins with its first word, from wherever it is read; one of spaces is none", async () => {
  const start_time = new Date().toISOString();
  for (const [id, title] of [
    ["team", TEAM],
    ["blank", "   "],
  ] as const)
    await stage.make(id, { title, start_time, calendar_id: "demo" });
  const ann = await stage.arrive("Ann");
  const title = ann.page.locator("bdi").filter({ hasText: TEAM });
  await title.waitFor();
  const hidden = title.evaluate((element) => {
    const range = document.createRange();
    range.setStart(element.firstChild as Node, 0);
    range.setEnd(element.firstChild as Node, 1);
    return range.getBoundingClientRect().right - element.getBoundingClientRect().right;
  });
  expect(await hidden).toBeLessThan(1);
  await ann.page.getByRole("link", { name: /Untitled/ }).click();
  await ann.page.getByRole("main", { name: "Untitled" }).waitFor();
});
