/** Who is asked to an event, who comes, and who is taken off the list. */

import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();

const attendees = ({ page }: Person) => page.getByRole("list", { name: "Attendees" }).getByRole("listitem");
const attendee = (person: Person, text: string) => attendees(person).filter({ hasText: text });

async function invite(person: Person, name: string): Promise<void> {
  await person.textbox("Invite").fill(name);
  await person.page.keyboard.press("Enter");
}

test("somebody is invited by keyboard, and answers; nobody is asked twice, and no one without a name", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await invite(ann, " Bob ");
  await attendee(bob, "Bob: no answer yet").waitFor();
  expect(await ann.textbox("Invite").inputValue()).toBe("");
  await invite(ann, "Bob");
  await ann.page.getByRole("alert").filter({ hasText: "Bob is among the attendees already." }).waitFor();
  await invite(ann, " ");
  const complaint = ann.page.getByRole("alert").filter({ hasText: "Type a name first." });
  await complaint.waitFor();
  await ann.textbox("Invite").fill("C");
  await complaint.waitFor({ state: "detached" });
  await bob.button("Maybe").click();
  await attendee(ann, "Bob: Maybe").waitFor();
  expect(await attendees(ann).count()).toBe(1);
});

test("who is removed is gone for everybody, and the focus has a place to go", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.textbox("Invite").fill("Bob");
  await ann.button("Add").click();
  await invite(bob, "Cleo");
  await attendee(ann, "Cleo").waitFor();
  await ann.button("Remove Bob").focus();
  await ann.page.keyboard.press("Enter");
  await attendee(bob, "Bob").waitFor({ state: "detached" });
  expect(await attendees(bob).count()).toBe(1);
  await ann.page.getByRole("status").filter({ hasText: "Bob is removed." }).waitFor();
  expect(await ann.textbox("Invite").evaluate((field) => field === document.activeElement)).toBe(true);
});

test("an answer of who was removed meanwhile is dropped, and he is told", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await invite(ann, "Cleo");
  await invite(ann, "Bob");
  await attendee(bob, "Bob: no answer yet").waitFor();
  await bob.workOffline(true);
  await bob.says("offline");
  await bob.button("Going").click();
  await attendee(bob, "Bob: Going").waitFor();
  await ann.button("Remove Bob").click();
  await ann.says("saved");
  await bob.workOffline(false);
  await bob.conflict.waitFor();
  expect(await bob.conflict.textContent()).toMatch(/Ann changed an answer.*MineGoing.*Theirsnothing/s);
  await attendee(bob, "Bob").waitFor({ state: "detached" });
  await bob.conflict.getByRole("button", { name: "Keep mine" }).click();
  const gone = { hasText: "is gone. Choose the other side" };
  await bob.conflict.getByRole("alert").filter(gone).waitFor();
  expect(await bob.page.getByText(gone.hasText).count()).toBe(1); // there, and nowhere behind it
  await bob.conflict.getByRole("button", { name: "Keep theirs" }).click();
  await bob.conflict.waitFor({ state: "detached" });
  expect(await attendee(bob, "Cleo: no answer yet").count()).toBe(1); // who has his place on the list has no answer of his
  await bob.button("Going").click(); // and comes uninvited
  await attendee(ann, "Bob: Going").waitFor();
});
