/** A month that is left open over midnight. */

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
