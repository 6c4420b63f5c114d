/** The month by keyboard. */

import { AxeBuilder } from "@axe-core/playwright";
import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();
const HERE = { timezoneId: "UTC", locale: "en-GB" };

/** Lunch is on 17 February, a Wednesday. */
async function february(viewport = { width: 1280, height: 860 }): Promise<Person> {
  const start_time = "2021-02-17T12:00:00Z";
  await stage.make("lunch", { title: "Lunch", start_time, calendar_id: "demo" });
  const address = `${stage.address}/#/month/2021-02`;
  const ann = await stage.arrive("Ann", address, undefined, { ...HERE, viewport });
  await ann.page.getByRole("link", { name: "12:00 Lunch" }).waitFor();
  return ann;
}

/** The day that has the focus, or in which it is. */
const day = ({ page }: Person) =>
  page.evaluate(() => document.activeElement?.closest("td")?.querySelector("time")?.dateTime);

/** Presses keys, each of which leads to a day. */
async function way(person: Person, ...steps: [key: string, day: string][]): Promise<void> {
  for (const [key, expected] of steps) {
    await person.page.keyboard.press(key);
    expect(await day(person), key).toBe(`2021-${expected}`);
  }
}

test("a month is one stop of the tab key, and arrow keys lead from day to day", async () => {
  const ann = await february();
  await ann.button("New event").focus();
  await way(
    ann,
    ["Tab", "02-01"],
    ["ArrowLeft", "02-01"], // there is none before it
    ["ArrowDown", "02-08"],
    ["ArrowDown", "02-15"],
    ["ArrowRight", "02-16"],
    ["ArrowRight", "02-17"],
    ["End", "02-21"],
    ["Home", "02-15"],
    ["ArrowUp", "02-08"],
    ["ArrowLeft", "02-07"], // Monday the eighth, Sunday the seventh
  );
  const { violations } = await new AxeBuilder({ page: ann.page }).analyze();
  expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  expect(await ann.page.getByRole("list").count()).toBe(1); // of the day that has an event
  await way(ann, ["Tab", "02-07"]); // to what makes an event there
  await ann.page.keyboard.press("Tab");
  expect(await day(ann)).toBeUndefined(); // nothing else of the month
});

for (const [locale, first, start] of [
  ["en-GB", "Mon", "Monday 1"],
  ["en-US", "Sun", "Sunday 31"],
  ["ar-EG", "Sat", "Saturday 30"],
] as const)
  test(`a week begins as a locale has it: ${locale}`, async () => {
    const address = `${stage.address}/#/month/2021-02`;
    const { page } = await stage.arrive("Ann", address, undefined, { ...HERE, locale });
    await page.getByRole("columnheader", { name: first }).waitFor();
    expect(await page.getByRole("columnheader").first().textContent()).toBe(first);
    expect(await page.locator("td time").first().textContent()).toBe(start);
  });

test("by keyboard one takes back all, and nothing takes the focus away", async () => {
  const ann = await stage.arrive("Ann");
  await ann.newEvent("Lunch");
  await ann.page.reload();
  await ann.textbox("Location").fill("Room 7");
  const focused = ann.page.locator(":focus");
  await ann.button("Undo").focus();
  for (const expected of ["", ""]) {
    await ann.page.keyboard.press("Enter"); // once too often
    await ann.sees("Location", expected);
    expect(await focused.textContent()).toBe("Undo");
  }
  expect(await ann.button("Undo").isDisabled()).toBe(true);
  await ann.page.keyboard.press("Tab");
  await ann.page.keyboard.press("Enter");
  await ann.sees("Location", "Room 7");
  expect(await focused.textContent()).toBe("Redo");
});

test("by the tab key one comes to a day's events, and makes one there", async () => {
  const ann = await february();
  await ann.page.getByRole("gridcell", { name: /Wednesday 17/ }).focus();
  await ann.page.keyboard.press("Tab");
  await ann.page.keyboard.press("Enter");
  await ann.sees("Title", "Lunch");
  await ann.page.goBack();
  await ann.page.locator("td:focus").filter({ hasText: "Wednesday 17" }).waitFor(); // where one came from
  await ann.button("New event").focus();
  await way(ann, ["Tab", "02-17"]);
  await ann.page.getByRole("gridcell", { name: /Wednesday 17/ }).focus();
  for (const key of ["Tab", "Tab", "Enter"]) await ann.page.keyboard.press(key);
  await ann.sees("Title", "");
  expect(await ann.textbox("Start").inputValue()).toBe("2021-02-17T09:00");
});

test("by the enter key one comes into a day, to its first event or to what makes one", async () => {
  const ann = await february();
  const enter = async (name: RegExp) => {
    await ann.page.getByRole("gridcell", { name }).focus();
    for (const key of ["Enter", "Enter"]) await ann.page.keyboard.press(key);
  };
  await enter(/Wednesday 17/);
  await ann.sees("Title", "Lunch");
  await ann.page.goBack();
  await enter(/Thursday 18/);
  await ann.sees("Title", "");
  expect(await ann.textbox("Start").inputValue()).toBe("2021-02-18T09:00");
});

test("where days stand below each other, so they follow; and the left arrow leads to the left in each script", async () => {
  const ann = await february({ width: 390, height: 844 });
  await ann.page.getByRole("gridcell", { name: /Wednesday 17/ }).focus();
  await way(ann, ["ArrowDown", "02-18"], ["ArrowUp", "02-17"], ["ArrowRight", "02-18"]);
  await ann.page.evaluate(() => {
    document.documentElement.dir = "rtl";
  });
  await way(ann, ["ArrowRight", "02-17"], ["ArrowLeft", "02-18"]);
});
