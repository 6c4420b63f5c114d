/** Days with many events, events with many people, and what is on paper. */

import { AxeBuilder } from "@axe-core/playwright";
import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();
const HERE = { timezoneId: "UTC", locale: "en-GB" };

/** So many events of a day of February. */
async function crowd(day: string, count: number): Promise<void> {
  for (let hour = 10; hour < 10 + count; hour++) {
    const start_time = `2021-02-${day}T${hour}:00:00Z`;
    await stage.make(`${day}-${hour}`, { title: `Talk at ${hour}`, start_time, calendar_id: "demo" });
  }
}

const isSeen = (element: Element) => {
  const { top, bottom } = element.getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight;
};

const talks = ({ page }: Person) => page.getByRole("link", { name: /Talk at/ });
const list = ({ page }: Person) => page.getByRole("dialog", { name: "Wednesday 17 February" });

test("of a day with many events the first ones are shown, and all of them in a list, by keyboard too", async () => {
  await crowd("17", 6);
  await crowd("18", 4);
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2021-02`, undefined, HERE);
  await expect.poll(() => talks(ann).count(), { timeout: 100_000 }).toBe(3 + 4); // "+1 more" would take as much room
  const more = ann.button("+3 more on 17 February");
  await more.press("Enter");
  await list(ann).waitFor();
  expect(await list(ann).getByRole("listitem").allTextContents()).toEqual(
    [10, 11, 12, 13, 14, 15].map((hour) => `${hour}:00 Talk at ${hour}`),
  );
  const { violations } = await new AxeBuilder({ page: ann.page }).analyze();
  expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  await ann.page.keyboard.press("Escape");
  await list(ann).waitFor({ state: "detached" });
  const isFocused = () => more.evaluate((button) => button === document.activeElement);
  expect(await isFocused()).toBe(true);
  await more.click();
  await list(ann).getByRole("button", { name: "Close" }).click();
  await list(ann).waitFor({ state: "detached" });
  expect(await isFocused()).toBe(true);
  await more.click();
  await list(ann)
    .getByRole("link", { name: /Talk at 15/ })
    .click();
  await ann.sees("Title", "Talk at 15");
  await ann.page.goBack();
  await more.waitFor();
  expect(await list(ann).count()).toBe(0);
});

test("the list of a day stays while others leave fewer of it, and the day has the focus then", async () => {
  await crowd("17", 5);
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2021-02`, undefined, HERE);
  await ann.button("+2 more on 17 February").press("Enter");
  await list(ann).waitFor();
  await stage.edit("17-11", 1, [{ op: "replace", path: "", value: null }]);
  await expect.poll(() => list(ann).getByRole("listitem").count(), { timeout: 100_000 }).toBe(4);
  await ann.page.keyboard.press("Escape");
  await list(ann).waitFor({ state: "detached" });
  expect(await ann.page.evaluate(() => document.activeElement?.textContent)).toMatch(/^Wednesday 17/);
  expect(await talks(ann).count()).toBe(4);
});

test("an arrow key that leads from day to day has no hour of any event written anew", async () => {
  await crowd("17", 6);
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2021-02`, undefined, HERE);
  await talks(ann).first().waitFor();
  await ann.page.evaluate(() => {
    const { toLocaleTimeString } = Date.prototype;
    Date.prototype.toLocaleTimeString = function (...args: Parameters<typeof toLocaleTimeString>) {
      document.documentElement.dataset.written = "";
      return toLocaleTimeString.apply(this, args);
    };
  });
  const isWrittenAt = async (key: string, day: string) => {
    await ann.page.evaluate(() => delete document.documentElement.dataset.written);
    await ann.page.keyboard.press(key);
    await ann.page.locator(`td[tabindex='0']:focus time[datetime='2021-02-${day}']`).waitFor();
    return ann.page.evaluate(() => "written" in document.documentElement.dataset);
  };
  await ann.page.locator("td[tabindex='0']").focus();
  // Again, for an event may come meanwhile.
  const areWritten = async () => [
    await isWrittenAt("ArrowRight", "02"),
    await isWrittenAt("ArrowLeft", "01"),
  ];
  await expect.poll(areWritten, { timeout: 100_000 }).toEqual([false, false]);
});

test("a list that is longer than the window keeps its name and its button in sight", async () => {
  await crowd("17", 13);
  const options = { ...HERE, viewport: { width: 1280, height: 300 } };
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2021-02`, undefined, options);
  await ann.button("+10 more on 17 February").click();
  const last = list(ann).getByRole("link", { name: /Talk at 22/ });
  await last.scrollIntoViewIfNeeded();
  expect(await last.evaluate(isSeen)).toBe(true);
  expect(await list(ann).getByRole("button", { name: "Close" }).evaluate(isSeen)).toBe(true);
});

/** Somebody's page lets so many others in, who look at an event. */
const letIn = ({ page }: Person, id: string, count: number) =>
  page.evaluate(
    async ([resource_id, to]) => {
      for (let index = 0; index < to; index++) {
        const body = JSON.stringify({ name: `Visitor ${index}` });
        const headers = { "Content-Type": "application/json" };
        const { token } = await (await fetch("/demo/sign-in", { method: "POST", headers, body })).json();
        const socket = new WebSocket("/realtime", "collab.v1");
        const send = (type: string, payload: object) => socket.send(JSON.stringify({ type, payload }));
        socket.onopen = () => {
          send("AUTH", { token, client_id: `visitor-${index}` });
          send("SUBSCRIBE", { resource: "event", resource_id });
        };
      }
    },
    [id, count] as const,
  );

test("however many are at an event, what can be done there is in sight, and each of them is found by keyboard", async () => {
  const event = await stage.make("lunch", { title: "Lunch" });
  const ann = await stage.arrive("Ann", event);
  await ann.sees("Title", "Lunch");
  expect(await ann.page.locator("section[tabindex]").count()).toBe(0);
  await letIn(ann, "lunch", 40);
  await expect.poll(() => ann.people.count(), { timeout: 100_000 }).toBe(41);
  expect(await ann.button("Undo").evaluate(isSeen)).toBe(true);
  const last = ann.people.last();
  expect(await last.evaluate(isSeen)).toBe(false);
  await ann.page.getByRole("region", { name: "People" }).press("End");
  await expect
    .poll(() => last.evaluate((one) => one.getBoundingClientRect().bottom), { timeout: 100_000 })
    .toBeLessThan((await ann.button("Undo").boundingBox())!.y);
  const { violations } = await new AxeBuilder({ page: ann.page }).analyze();
  expect(
    violations.map(({ id, nodes }) => [id, nodes.map(({ html, any }) => [html, any[0]?.message])]),
  ).toEqual([]);
});

test("on paper there is each event of a month, and the whole text of an event; and nothing to press", async () => {
  await crowd("17", 6);
  const lines = Array.from({ length: 30 }, () => "W".repeat(300)).join("\n");
  const event = await stage.make("lunch", { title: "Lunch", description: lines });
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2021-02`, undefined, HERE);
  await ann.button("+3 more on 17 February").waitFor();
  await ann.page.emulateMedia({ media: "print" });
  expect(await talks(ann).count()).toBe(6);
  expect(await ann.page.getByRole("button").count()).toBe(0);
  await ann.page.emulateMedia({ media: "screen" });
  await ann.page.goto(event);
  await ann.sees("Description", lines);
  await ann.page.emulateMedia({ media: "print" });
  await ann.page.setViewportSize({ width: 718, height: 1000 });
  const hidden = (field: Element) => field.scrollHeight - field.clientHeight;
  expect(await ann.textbox("Description").evaluate(hidden)).toBe(0);
  const overflow = (root: Element) => root.scrollWidth - root.clientWidth;
  expect(await ann.page.locator(":root").evaluate(overflow)).toBe(0);
  await ann.page.getByRole("heading", { name: "Lunch" }).waitFor();
  const handle = (field: Element) => getComputedStyle(field).resize;
  expect(await ann.textbox("Description").evaluate(handle)).toBe("none");
  for (const name of ["Sign out", "Undo", "Add"]) expect(await ann.button(name).count()).toBe(0);
});

test("on paper nobody is at a field, nor is oneself; and a time has no icon", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await bob.page.getByLabel("Start").focus();
  await ann.page.getByLabel("Start").focus();
  const name = ann.page.locator(".here b");
  await name.waitFor();
  await ann.page.emulateMedia({ media: "print" });
  await name.waitFor({ state: "hidden" });
  const line = (field: Element) => [
    getComputedStyle(field).borderStyle,
    getComputedStyle(field).outlineStyle,
  ];
  expect(await ann.page.getByLabel("Start").evaluate(line)).toEqual(["none", "none"]);
  const { x, y, width, height } = (await ann.page.getByLabel("Start").boundingBox())!;
  const picture = (fromEnd: number) =>
    ann.page.screenshot({ clip: { x: x + width - fromEnd, y, width: 30, height } });
  expect(await picture(30)).toEqual(await picture(60)); // where nothing is
});
