/** The calendar on a phone, by touch. */

import type { Locator } from "playwright-core";
import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
const NARROWEST = { ...PHONE, viewport: { width: 320, height: 640 } };

/** As by somebody who has all text twice as large. */
const enlarge = ({ page }: Person) =>
  page.evaluate(() => {
    document.documentElement.style.fontSize = "200%";
  });

/** The days of the month, as far as they are shown. */
const day = ({ page }: Person, name: string) => page.getByRole("listitem").filter({ hasText: name });

const overflow = ({ page }: Person) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** Of all that can be touched, what is smaller than a finger. */
const tooSmall = ({ page }: Person) =>
  page.evaluate(() =>
    [...document.querySelectorAll("button, a, input, select, textarea, summary")].flatMap((control) => {
      const { width, height } = control.getBoundingClientRect();
      const isSmall = control.getClientRects().length > 0 && Math.min(width, height) < 44;
      return isSmall
        ? [`${control.getAttribute("aria-label") ?? control.textContent}: ${width} × ${height}`]
        : [];
    }),
  );

test("whatever is touched is as large as a finger", async () => {
  for (let hour = 10; hour < 16; hour++)
    await stage.make(`talk-${hour}`, {
      title: `Talk at ${hour}`,
      start_time: `2021-02-17T${hour}:00:00Z`,
      attendees: [{ user_id: "Cleo", response_status: "NEEDS_ACTION" }],
      calendar_id: "demo",
    });
  const month = `${stage.address}/#/month/2021-02`;
  const ann = await stage.arrive("Ann", month, undefined, { ...PHONE, locale: "en-GB", timezoneId: "UTC" });
  await ann.button("+3 more on 17 February").tap();
  await ann.page.getByRole("dialog").waitFor();
  expect(await tooSmall(ann)).toEqual([]);
  await ann.page.getByRole("dialog").getByRole("link", { name: "Talk at 15" }).tap();
  await ann.button("Going").tap();
  await ann.page.getByText("Show a part of it").tap();
  await ann.page.getByRole("button", { name: /^Restore version \d+, .*\d, program$/ }).waitFor();
  expect(await tooSmall(ann)).toEqual([]);
  expect(await overflow(ann)).toBe(0);
});

for (const [where, options] of [
  ["on a phone", PHONE],
  ["wide", {}],
] as const)
  test(`what the status says moves no switch away from the finger: ${where}`, async () => {
    const ann = await stage.arrive("Ann", stage.address, undefined, options);
    await ann.newEvent("Lunch");
    const places = async () => {
      const boxes = await ann.page.locator(".bar :is(a, button), main").all();
      return Promise.all(boxes.map(async (box) => (({ x, y }) => [x, y])((await box.boundingBox())!)));
    };
    const online = await places();
    await ann.workOffline(true);
    await ann.textbox("Location").fill("Room 7");
    await ann.says("offline, 1 edit kept here");
    expect(await places()).toEqual(online);
  });

test("a month on a phone has no day of another, also not the one that was touched last", async () => {
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2021-03`, undefined, {
    ...PHONE,
    locale: "en-GB",
  });
  const last = ann.page.getByRole("gridcell", { name: "Wednesday 31" });
  await last.tap();
  await last.and(ann.page.locator(":focus")).waitFor();
  await ann.page.getByRole("link", { name: "Next month" }).tap();
  await ann.page.getByRole("heading", { name: "April 2021" }).waitFor();
  await ann.button("New event on 1 April").waitFor();
  expect(await ann.button("New event on 31 March").count()).toBe(0);
});

const isSeen = (cell: Element) => {
  const { top, bottom } = cell.getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight;
};

const comesIntoSight = (cell: Locator) =>
  expect.poll(() => cell.evaluate(isSeen), { timeout: 100_000 }).toBe(true);

test("this month opens at today, one goes on to others from their first days, and an event leads back to its own", async () => {
  for (let day = 10; day < 32; day++)
    await stage.make(`talk-${day}`, {
      title: `Talk on day ${day}`,
      start_time: `2021-03-${day}T10:00:00Z`,
      calendar_id: "demo",
    });
  const time = new Date("2021-03-24T12:00:00Z");
  const prepare = ({ clock }: { clock: { setFixedTime(at: Date): Promise<void> } }) =>
    clock.setFixedTime(time);
  const options = { ...PHONE, locale: "en-GB", timezoneId: "UTC" };
  const ann = await stage.arrive("Ann", stage.address, prepare, options);
  const talk = (day: number) => ann.page.getByRole("link", { name: `Talk on day ${day}` });
  await talk(31).waitFor();
  await comesIntoSight(ann.page.locator("td.today"));
  await ann.page.getByRole("link", { name: "Next month" }).tap();
  await ann.page.getByRole("heading", { name: "April 2021" }).waitFor();
  await comesIntoSight(ann.page.locator("[datetime='2021-04-01']"));
  await ann.page.getByRole("link", { name: "Previous month" }).tap();
  await talk(31).waitFor();
  for (const way of ["Previous month", "Next month"]) // whoever goes on finds them where they were
    expect(await ann.page.getByRole("link", { name: way }).evaluate(isSeen)).toBe(true);
  await ann.page.goto(`${stage.address}/#/month/2021-03`);
  await talk(11).tap();
  await ann.sees("Title", "Talk on day 11");
  await ann.page.getByRole("link", { name: "Calendar", exact: true }).tap();
  await talk(11).waitFor();
  await comesIntoSight(talk(11));
});

test("Today leads to the day itself, from its month and from another one", async () => {
  const ann = await stage.arrive("Ann", stage.address, undefined, PHONE);
  const today = ann.page.locator("td.today:focus");
  for (const way of ["Today", "Next month", "Today"])
    await ann.page.getByRole("link", { name: way, exact: true }).tap();
  await today.waitFor();
  expect(await today.evaluate(isSeen)).toBe(true);
  await ann.page.getByRole("link", { name: "Today", exact: true }).focus();
  await ann.page.keyboard.press("Enter");
  await today.waitFor();
  expect(await today.evaluate(isSeen)).toBe(true);
});

test("an event is made on any day by touch, and one of several days is on each of them", async () => {
  const month = `${stage.address}/#/month/2021-02`;
  const ann = await stage.arrive("Ann", month, undefined, { ...PHONE, locale: "en-GB" });
  expect(await overflow(ann)).toBe(0);
  expect(await ann.button("New event on 31 January").count()).toBe(0); // another month's
  const add = ann.button("New event on 17 February");
  expect(await add.evaluate((button) => getComputedStyle(button).opacity)).toBe("1"); // without a pointer over it
  await add.tap();
  await ann.textbox("Title").fill("Trip");
  expect(await ann.textbox("Start").inputValue()).toBe("2021-02-17T09:00");
  await ann.textbox("End").fill("2021-02-19T12:00");
  await ann.says("saved");
  expect(await overflow(ann)).toBe(0);
  await ann.page.goBack();
  await day(ann, "09:00 Trip").waitFor();
  await ann.page.getByRole("link", { name: "all day Trip" }).waitFor(); // a dash isn't read out
  await ann.page.getByRole("link", { name: "until 12:00 Trip" }).waitFor();
  expect(await day(ann, "Trip").count()).toBe(3);
  await day(ann, "–12:00 Trip").getByRole("link").tap();
  await ann.sees("Title", "Trip");
});

test("with a text twice as large nothing of a conflict is beside its dialog, also on the narrowest phone", async () => {
  const ann = await stage.arrive("Ann", stage.address, undefined, NARROWEST);
  const bob = await stage.arrive("Bob", await ann.newEvent("Lunch"));
  await bob.sees("Title", "Lunch");
  await stage.dispute(ann, bob, "Dinner", "Breakfast");
  await enlarge(ann);
  const beside = ({ scrollWidth, clientWidth }: Element) => scrollWidth - clientWidth;
  for (const part of [ann.conflict, ann.conflict.locator("dl")]) expect(await part.evaluate(beside)).toBe(0);
});

test("nor is a word cut in pieces there that has room in a line", async () => {
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2021-03`, undefined, NARROWEST);
  const wednesday = ann.page.locator(".weekday", { hasText: "Wednesday" }).first();
  await wednesday.waitFor();
  await enlarge(ann);
  expect(await wednesday.evaluate((element) => element.getClientRects().length)).toBe(1);
  await ann.newEvent("Lunch");
  await ann.textbox("Invite").fill("Bartholomew");
  await ann.button("Add").click();
  const invited = ann.page.getByText("Bartholomew: no answer yet");
  expect((await invited.boundingBox())!.width).toBeGreaterThan(160); // half of the window
});
