/** A month that is left open over midnight, and over a journey. */

import { expect, test } from "vitest";
import { Stage } from "./stage.js";

const stage = new Stage();

test("after midnight the month is the new day's, and an event that is made is on it", async () => {
  const time = new Date("2026-01-31T23:58:00Z");
  const prepare = ({ clock }: { clock: { install(at: object): Promise<void> } }) => clock.install({ time });
  const ann = await stage.arrive("Ann", stage.address, prepare, { timezoneId: "UTC", locale: "en-GB" });
  const today = ann.page.locator("time[aria-current=date]");
  await ann.page.getByRole("heading", { name: "January 2026" }).waitFor();
  expect(await today.getAttribute("datetime")).toBe("2026-01-31");
  await ann.page.clock.fastForward("04:00");
  await ann.page.getByRole("heading", { name: "February 2026" }).waitFor();
  expect(await today.getAttribute("datetime")).toBe("2026-02-01");
  await ann.button("New event").click();
  await ann.sees("Start", "2026-02-01T01:00");
});

test("in another time zone the month's events are on the days, and at the hours, that they have there", async () => {
  await stage.make("talk", {
    title: "Talk",
    start_time: "2026-01-15T20:00:00Z",
    end_time: "2026-01-15T21:00:00Z",
    calendar_id: "demo",
  });
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2026-01`);
  const travel = await ann.context.newCDPSession(ann.page);
  const talkOn = (day: string) =>
    ann.page
      .getByRole("gridcell")
      .filter({ has: ann.page.locator(`time[datetime="${day}"]`), hasText: "Talk" });
  for (const [timezoneId, day] of [
    ["Europe/London", "2026-01-15"],
    ["Asia/Tokyo", "2026-01-16"],
  ] as const) {
    await travel.send("Emulation.setTimezoneOverride", { timezoneId });
    await ann.page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await talkOn(day).waitFor();
  }
});
