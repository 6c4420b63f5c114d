/** Who is at which field. */

import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();

const listed = (person: Person, text: string) => person.people.filter({ hasText: text });
/** Names at fields without a caret. */
const names = ({ page }: Person) => page.locator(".here b");

test("one sees who is at a time or an answer, and it can be heard of every field", async () => {
  const [ann, bob] = await stage.together("Lunch");
  for (const [label, hasName] of [
    ["Start", true],
    ["End", true],
    ["Description", false],
    ["Invite", true],
  ] as const) {
    await bob.textbox(label).focus();
    await listed(ann, `Bob, editing ${label === "Invite" ? "Attendees" : label}`).waitFor();
    await expect
      .poll(() => names(ann).allTextContents(), { timeout: 100_000 })
      .toEqual(hasName ? ["Bob"] : []);
    expect(await ann.textbox(label).count()).toBe(1); // the field keeps its name
  }
  await bob.button("Maybe").focus(); // within the same field
  expect(await names(ann).allTextContents()).toEqual(["Bob"]);
  await bob.button("Maybe").blur();
  await names(ann).waitFor({ state: "detached" });
  await listed(ann, "editing").waitFor({ state: "detached" });
});

test("where a long name stands beside a short one, the short one is shown whole", async () => {
  const [ann, bob, event] = await stage.together("Lunch");
  await ann.page.setViewportSize({ width: 390, height: 844 });
  const long = await stage.arrive("Somebody with a name of very many characters", event);
  for (const person of [bob, long]) await person.textbox("Start").focus();
  await names(ann).nth(1).waitFor();
  const cut = (name: string) =>
    names(ann)
      .filter({ hasText: name })
      .evaluate(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth);
  expect([await cut("Bob"), await cut("Somebody")]).toEqual([false, true]);
});

test("others' carets go along with a text whose lines break elsewhere as window or field become narrower", async () => {
  const event = await stage.make("1", { title: "Lunch", description: "one two three ".repeat(12) });
  const ann = await stage.arrive("Ann", event);
  const bob = await stage.arrive("Bob", event);
  await bob.sees("Title", "Lunch");
  await bob.textbox("Description").press("Control+End");
  const caret = ann.page.locator("textarea ~ .collab-cursors .collab-caret");
  const top = () => caret.evaluate((element) => (element as HTMLElement).offsetTop);
  await expect.poll(top, { timeout: 100_000 }).toBeGreaterThan(20); // not in the first line
  const wide = await top();
  await ann.page.setViewportSize({ width: 390, height: 844 });
  await expect.poll(top, { timeout: 100_000 }).toBeGreaterThan(wide);
  const narrow = await top();
  await ann.textbox("Description").evaluate((field) => {
    field.style.width = "50%"; // as its handle does it
  });
  await expect.poll(top, { timeout: 100_000 }).toBeGreaterThan(narrow);
});
