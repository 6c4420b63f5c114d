/** The calendar where there is less room than on a desk, and more than on a phone. */

import { expect, test } from "vitest";
import { Stage } from "./stage.js";

const stage = new Stage();
const TABLET = { hasTouch: true, timezoneId: "UTC", locale: "en-US" };
const times = { start_time: "2021-02-17T10:00:00Z", end_time: "2021-02-17T11:00:00Z" };

for (const width of [740, 820, 910])
  test(`nothing of an event lies on something else in a window of ${width} pixels`, async () => {
    const event = await stage.make("lunch", { title: "Lunch", calendar_id: "demo", ...times });
    const viewport = { width, height: 1000 };
    const ann = await stage.arrive("Ann", event, undefined, { ...TABLET, viewport });
    await ann.sees("Title", "Lunch");
    const aside = (await ann.page.getByRole("complementary").boundingBox())!;
    const end = (await ann.page.getByLabel("End", { exact: true }).boundingBox())!;
    expect(end.x + end.width).toBeLessThanOrEqual(aside.x);
  });

test("in a month's narrow columns there is room for a title beside its hour, or below it", async () => {
  await stage.make("lunch", { title: "Lunch with Kim", calendar_id: "demo", ...times });
  const viewport = { width: 800, height: 1000 };
  const month = `${stage.address}/#/month/2021-02`;
  const ann = await stage.arrive("Ann", month, undefined, { ...TABLET, viewport });
  const link = ann.page.getByRole("link", { name: "10:00 AM Lunch with Kim" });
  await link.waitFor();
  const isHalf = (title: Element) => title.clientWidth > (title.closest("td") as Element).clientWidth / 2;
  expect(await link.locator("bdi").evaluate(isHalf)).toBe(true);
  expect(await link.getByTitle("Lunch with Kim").count()).toBe(1); // where it is cut, a pointer shows the whole of it
});
