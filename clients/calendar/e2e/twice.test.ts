/** The hour that is there twice, on the night that clocks are put back; and the one that isn't there in spring. */

import { AxeBuilder } from "@axe-core/playwright";
import { expect, test } from "vitest";
import { Stage } from "./stage.js";

const stage = new Stage();
const NEW_YORK = { timezoneId: "America/New_York", locale: "en-US" };

test("of two hours that look alike the month and the event say which it is, and one chooses", async () => {
  const times = { start_time: "2026-11-01T05:30:00Z", end_time: "2026-11-01T06:30:00Z" };
  const event = await stage.make("shift", { title: "Shift", calendar_id: "demo", ...times });
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2026-11`, undefined, NEW_YORK);
  await ann.page.getByRole("link", { name: "1:30 AM EDT Shift" }).waitFor();
  const bob = await stage.arrive("Bob", event, undefined, { timezoneId: "UTC" });
  await ann.page.goto(event);
  const hour = (field: string) => ann.page.getByRole("combobox", { name: `${field}: which of two hours` });
  const chosen = (field: string) => hour(field).locator("option:checked").textContent();
  await ann.sees("Start", "2026-11-01T01:30");
  expect([await chosen("Start"), await chosen("End")]).toEqual(["1:30 AM EDT", "1:30 AM EST"]);
  const { violations } = await new AxeBuilder({ page: ann.page }).analyze();
  expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  await hour("Start").selectOption("1:30 AM EST");
  await bob.sees("Start", "2026-11-01T06:30");
  await bob.sees("End", "2026-11-01T07:30");
  expect(await hour("End").count()).toBe(0);
  await ann.textbox("End").fill("2026-11-01T01:45"); // there is one that isn't before the start
  await bob.sees("End", "2026-11-01T06:45");
  expect(await hour("End").locator("option:disabled").allTextContents()).toEqual(["1:45 AM EDT"]);
  await ann.textbox("Start").fill("2026-11-01T01:15"); // within the same hour
  await bob.sees("Start", "2026-11-01T06:15");
  await ann.textbox("Start").fill("2026-11-02T01:15");
  await bob.sees("Start", "2026-11-02T06:15");
  expect(await hour("Start").count()).toBe(0);
  expect(await ann.button("Dismiss").count()).toBe(0);
});

test("an hour that clocks are put forward over is typed in peace, and isn't taken for another one", async () => {
  const times = { start_time: "2026-03-08T14:00:00Z", end_time: "2026-03-08T15:00:00Z" };
  const event = await stage.make("shift", { title: "Shift", ...times });
  const ann = await stage.arrive("Ann", event, undefined, NEW_YORK);
  const bob = await stage.arrive("Bob", event, undefined, { timezoneId: "UTC" });
  const problem = ann.page.getByText("There is no such hour on that day: clocks are put forward.");
  await ann.sees("Start", "2026-03-08T10:00");
  await ann.textbox("Start").focus();
  await ann.page.keyboard.type("030820260230AM", { delay: 100 });
  expect(await ann.textbox("Start").inputValue()).toBe("2026-03-08T02:30");
  await ann.textbox("Location").focus();
  await problem.waitFor();
  await ann.sees("Start", "2026-03-08T10:00");
  await ann.textbox("Start").fill("2026-03-08T03:30");
  await problem.waitFor({ state: "detached" });
  await bob.sees("Start", "2026-03-08T07:30");
});
