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
