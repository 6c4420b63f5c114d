/** Events that are no more: what leads back, and what meets an edit. */

import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();

const isGone = ({ page }: Person) =>
  page.getByRole("heading", { name: "There is no such event (any more)." }).waitFor();

/** Deletes the event that is open, as who is asked and means it. */
async function remove(person: Person): Promise<void> {
  person.page.once("dialog", (dialog) => void dialog.accept());
  await person.button("Delete").click();
  await isGone(person);
}

const answer = ({ conflict }: Person, text: string) =>
  conflict.getByRole("button", { name: text, exact: true }).click();

test("an event that was made is taken back with all that is in it, and done again", async () => {
  const [ann, bob] = await stage.together("Lunch");
  while (!(await ann.textbox("Title").isHidden())) await ann.button("Undo").click();
  await Promise.all([isGone(ann), isGone(bob)]);
  while (await ann.button("Redo").isEnabled()) await ann.button("Redo").click();
  await Promise.all([ann.sees("Title", "Lunch"), bob.sees("Title", "Lunch")]);
});

test("of an event that was made offline what was typed last is taken back, and not all of it", async () => {
  const ann = await stage.arrive("Ann");
  await ann.workOffline(true);
  await ann.says("offline");
  await ann.button("New event").click();
  await ann.textbox("Title").fill("Lunch");
  await ann.textbox("Location").fill("Room 7");
  await ann.workOffline(false);
  await ann.says("online, saved");
  const bob = await stage.arrive("Bob", ann.page.url());
  await bob.sees("Location", "Room 7");
  await ann.button("Undo").click();
  await bob.sees("Location", "");
  await bob.sees("Title", "Lunch");
});

test("a deletion is taken back by who deleted, and nobody else is offered that", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await bob.textbox("Location").fill("Room 7");
  await ann.sees("Location", "Room 7");
  await remove(ann);
  await isGone(bob);
  expect(await bob.button("Undo").count()).toBe(0);
  await ann.button("Undo").click();
  await Promise.all([ann.sees("Title", "Lunch"), bob.sees("Title", "Lunch")]);
});

test("who was at a field of an event that somebody deletes is at none once it is back", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await bob.textbox("Description").focus();
  const him = ann.people.filter({ hasText: "Bob" });
  await him.filter({ hasText: "editing Description" }).waitFor();
  await remove(ann);
  await isGone(bob);
  await ann.button("Undo").click();
  await bob.sees("Title", "Lunch");
  await him.filter({ hasNotText: "editing" }).waitFor();
});

test("who looks at an event that somebody deletes reads who that was, and can restore it", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await remove(bob);
  const changes = ann.page.getByRole("region", { name: "History" }).getByRole("listitem");
  await changes.filter({ hasText: "Bob deleted the event" }).waitFor();
  await changes.filter({ hasText: "Lunch" }).getByRole("button").click();
  await Promise.all([ann.sees("Title", "Lunch"), bob.sees("Title", "Lunch")]);
});

test("of an event that never was there is no history", async () => {
  const ann = await stage.arrive("Ann", `${stage.address}/#/event/nothing`);
  await isGone(ann);
  expect(await ann.page.getByRole("region", { name: "History" }).count()).toBe(0);
});

/** Ann edits an event offline that Bob deletes meanwhile, and is asked. */
async function deletedMeanwhile(): Promise<[Person, Person]> {
  const [ann, bob] = await stage.together("Lunch");
  await ann.workOffline(true);
  await ann.says("offline");
  await ann.textbox("Title").fill("Ann's title");
  await remove(bob);
  await bob.says("saved");
  await ann.workOffline(false);
  await ann.conflict.getByRole("definition").filter({ hasText: "Ann's title" }).waitFor();
  await ann.conflict.getByText("Bob deleted the event").waitFor();
  return [ann, bob];
}

test("who edited offline what was deleted meanwhile is told by whom, and can bring it back as it is here", async () => {
  const [ann, bob] = await deletedMeanwhile();
  await answer(ann, "Keep mine");
  await Promise.all([ann.sees("Title", "Ann's title"), bob.sees("Title", "Ann's title")]);
  expect(await ann.conflict.count()).toBe(0);
});

test("who edited offline what was deleted meanwhile can leave it so", async () => {
  const [ann] = await deletedMeanwhile();
  await answer(ann, "Keep theirs");
  await ann.conflict.waitFor({ state: "detached" });
  await isGone(ann);
});

const leads = ({ page }: Person) =>
  page
    .getByRole("alert")
    .filter({ hasText: "Ann's title was changed or deleted by somebody else too: open it to decide." })
    .getByRole("link");

const toMonth = async ({ page }: Person) => {
  await page.goto(`${stage.address}/#/`); // past the question
  await page.getByRole("grid").waitFor();
};

test("what was edited offline and deleted meanwhile is led to until that is decided, also after a reload", async () => {
  const [ann, bob] = await deletedMeanwhile();
  await toMonth(ann);
  await leads(ann).waitFor();
  await ann.page.reload();
  await leads(ann).waitFor();
  await ann.button("Dismiss").click();
  await leads(ann).waitFor({ state: "detached" });
  await ann.page.reload();
  await leads(ann).click();
  await answer(ann, "Keep mine");
  await bob.sees("Title", "Ann's title");
  await toMonth(ann);
  expect(await ann.button("Dismiss").count()).toBe(0);
  await ann.page.reload();
  await ann.page.getByRole("link", { name: /Ann's title/ }).waitFor();
  expect(await ann.button("Dismiss").count()).toBe(0);
});

test("who closes the page without an answer about what was deleted is led back to it, in each tab until it is given", async () => {
  const [ann] = await deletedMeanwhile();
  await ann.page.close();
  const [one, other] = [await ann.anotherTab(stage.address), await ann.anotherTab(stage.address)];
  await Promise.all([leads(one).waitFor(), leads(other).waitFor()]);
  await leads(one).click();
  await answer(one, "Keep theirs");
  await leads(other).waitFor({ state: "detached" });
});

test("who deleted offline what somebody edited meanwhile is asked, and can let the edit stand", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.workOffline(true);
  await ann.says("offline");
  await remove(ann);
  await bob.textbox("Title").fill("Bob's title");
  await bob.says("saved");
  await ann.workOffline(false);
  await ann.conflict.getByRole("definition").filter({ hasText: "Bob's title" }).waitFor();
  await answer(ann, "Keep theirs");
  await Promise.all([ann.sees("Title", "Bob's title"), bob.sees("Title", "Bob's title")]);
});
