/** Who changed what, from what to what. */

import { expect, test } from "vitest";
import { Stage } from "./stage.js";

const stage = new Stage();
const TOKYO = { locale: "en-GB", timezoneId: "Asia/Tokyo" };

test("the history says who moved an event from when to when, in the reader's zone, and what one person did", async () => {
  const event = await stage.make("lunch", {
    title: "Lunch",
    start_time: "2021-01-05T01:00:00Z",
    end_time: "2021-01-05T02:00:00Z",
    attendees: [{ user_id: "Cleo", response_status: "NEEDS_ACTION" }],
  });
  const ann = await stage.arrive("Ann", event, undefined, TOKYO);
  const bob = await stage.arrive("Bob", event);
  const changes = ann.page.getByRole("region", { name: "History" }).getByRole("listitem");
  const change = (text: RegExp) => changes.filter({ hasText: text });
  await ann.textbox("Start").fill("2021-01-05T11:00");
  await change(/^Ann moved from 10:00 to 11:00 \(Tue,? 5 Jan 2021\)/).waitFor();
  await ann.textbox("End").fill("2021-01-05T11:30");
  await change(/^Ann changed the end from 12:00 to 11:30 \(Tue,? 5 Jan 2021\)/).waitFor();
  await bob.button("Remove Cleo").click();
  await change(/^Bob removed Cleo/).waitFor();
  await ann.page.getByText("Show a part of it").click();
  await ann.page.getByLabel("Changes by").selectOption("Bob");
  await change(/^Ann/).first().waitFor({ state: "detached" });
  await change(/^Bob removed Cleo/).waitFor();
  expect(await changes.count()).toBe(1);
  await ann.page.getByLabel("Changes by").selectOption("Everybody");
  await changes.nth(3).waitFor();
  /** What the gateway tells of one side of a day. */
  const told = async (side: "Since" | "Until", day: string) => {
    const answer = ann.page.waitForResponse(new RegExp(`/history\\?.*${side.toLowerCase()}=`));
    await ann.page.getByLabel(side).fill(day);
    return (await (await answer).json()).changes;
  };
  expect(await told("Until", "2021-05-06")).toEqual([]);
  await changes.first().waitFor({ state: "detached" });
  expect(await told("Until", "2221-05-06")).not.toEqual([]);
  await changes.nth(3).waitFor();
  expect(await told("Since", "2121-05-06")).toEqual([]);
  await changes.first().waitFor({ state: "detached" });
  await told("Since", "2021-05-06");
  await changes.nth(3).waitFor();
  expect(await changes.count()).toBe(4);
});

test("who is chosen may have any name", async () => {
  const ann = await stage.arrive("Ann  Lee");
  await ann.newEvent("Lunch");
  const changes = ann.page.getByRole("region", { name: "History" }).getByRole("listitem");
  await changes.first().waitFor();
  await ann.page.getByText("Show a part of it").click();
  const answer = ann.page.waitForResponse(/\/history\?.*user_id=Ann%20%20Lee/);
  await ann.page.getByLabel("Changes by").selectOption({ index: 1 });
  expect((await (await answer).json()).changes).not.toEqual([]);
});

test("what was there before a change is asked for again where it could not be", async () => {
  const event = await stage.make("lunch", { title: "Lunch", start_time: "2026-01-05T01:00:00Z" });
  const ann = await stage.arrive("Ann", event, undefined, TOKYO);
  const changes = ann.page.getByRole("region", { name: "History" }).getByRole("listitem");
  await changes.first().waitFor();
  await ann.page.route(/\/history\?.*before=2&/, (route) => route.abort());
  await ann.textbox("Start").fill("2026-01-05T11:00");
  await changes.filter({ hasText: /^Ann set the start to/ }).waitFor();
  await ann.page.unrouteAll();
  await changes.filter({ hasText: /^Ann changed the start from 10:00 to 11:00/ }).waitFor();
});

test("who edited an event and opened it again is told where to take that back, and nobody else", async () => {
  const [ann, bob] = await stage.together("Lunch");
  const told = ({ page }: { page: typeof ann.page }) => page.getByText("The history can restore it.");
  await ann.textbox("Location").fill("Room 7");
  await bob.sees("Location", "Room 7");
  expect([await told(ann).count(), await told(bob).count()]).toEqual([0, 0]);
  for (const { page } of [ann, bob]) await page.reload();
  for (const person of [ann, bob]) await person.sees("Location", "Room 7");
  await told(ann).waitFor();
  expect(await ann.button("Undo").isDisabled()).toBe(true);
  expect(await told(bob).count()).toBe(0);
  await ann.textbox("Location").fill("Room 8"); // that can be taken back
  await told(ann).waitFor({ state: "detached" });
});

test("whose tab takes the lead still takes back what was done in it", async () => {
  const [ann, bob, event] = await stage.together("Lunch");
  const again = await ann.anotherTab(event);
  stage.everybody.push(again);
  await again.sees("Title", "Lunch");
  await again.textbox("Location").fill("Room 7");
  await bob.sees("Location", "Room 7");
  expect(await again.button("Undo").isEnabled()).toBe(true);
  await ann.page.close();
  await again.textbox("Description").fill("Pizza");
  await bob.sees("Description", "Pizza");
  await again.button("Undo").click();
  await bob.sees("Description", "");
  await again.button("Undo").click();
  await bob.sees("Location", "");
});
