/** An event that two people moved at once, and a title that both typed in. */

import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();
const HERE = { timezoneId: "America/New_York", locale: "en-GB" };

const times = async (person: Person) =>
  Promise.all(["Start", "End"].map((name) => person.textbox(name).inputValue()));

/** Lunch at ten, which Ann and Bob have open. */
async function lunch(): Promise<[Person, Person]> {
  const event = await stage.make("lunch", {
    title: "Lunch",
    start_time: "2021-05-06T14:00:00Z",
    end_time: "2021-05-06T15:00:00Z",
  });
  const ann = await stage.arrive("Ann", event, undefined, HERE);
  const bob = await stage.arrive("Bob", event, undefined, HERE);
  for (const person of [ann, bob]) await person.sees("Title", "Lunch");
  return [ann, bob];
}

/** One of the two sets a time offline, and the other one another meanwhile. */
const retime = (ann: Person, bob: Person, hers: [string, string], his: [string, string]) =>
  stage.meanwhile(ann, bob, onThatDay(hers), onThatDay(his));

const onThatDay = ([field, hour]: [string, string]) => [field, `2021-05-06T${hour}`] as const;

/** What there is to choose from. */
async function choices({ conflict }: Person): Promise<string[]> {
  const texts = await conflict.getByRole("definition").allTextContents();
  return texts.map((text) => text.replace(/.*2021, /, ""));
}

const isAsked = async ({ conflict }: Person) => (await conflict.count()) > 0;

/** Two type in one title at once, until somebody is asked; who is, and the other one. */
async function typeAtOnce(ann: Person, bob: Person): Promise<[Person, Person]> {
  for (const person of [ann, bob]) await person.putCaret("Title", 5);
  do {
    const type = ({ page }: Person, text: string) => page.keyboard.type(text, { delay: 20 });
    await Promise.all([type(ann, " with Kim"), type(bob, ", or supper")]);
    for (const person of [ann, bob]) await person.says("saved");
  } while (!(await isAsked(ann)) && !(await isAsked(bob)));
  return (await isAsked(ann)) ? [ann, bob] : [bob, ann];
}

for (const answer of ["Keep mine", "Keep theirs", "Merge"]) {
  test(`who typed in one title at once are asked one thing each: ${answer}`, async () => {
    const [ann, bob] = await stage.together("Lunch");
    const [one, other] = await typeAtOnce(ann, bob);
    const both = async () => Promise.all([one, other].map(choices));
    const titles = () => Promise.all([one, other].map((person) => person.textbox("Title").inputValue()));
    await expect.poll(titles, { timeout: 100_000 }).toSatisfy(([hers, his]) => hers === his);
    // What either wrote last is theirs to the other one.
    if (await isAsked(other))
      await expect.poll(both, { timeout: 100_000 }).toSatisfy(([[a, b], [c, d]]) => a === d && b === c);
    const [mine, theirs] = await choices(one);
    const merge = one.conflict.getByRole("textbox", { name: "Merged" });
    if (answer === "Merge") await merge.fill("Lunch for both");
    await one.conflict.getByRole("button", { name: answer }).click();
    await one.conflict.waitFor({ state: "detached" });
    const title = { "Keep mine": mine, "Keep theirs": theirs }[answer] ?? "Lunch for both";
    for (const person of [one, other]) await person.sees("Title", title);
    if (await isAsked(other)) {
      const [own] = await choices(other);
      await other.conflict.getByRole("button", { name: own === title ? "Keep mine" : "Keep theirs" }).click();
      await other.conflict.waitFor({ state: "detached" });
    }
    for (const person of [one, other]) {
      await person.says("saved");
      await person.page.reload();
      await person.sees("Title", title);
      expect(await isAsked(person)).toBe(false);
    }
  });
}

test("in a small window a question is read from its beginning, and by keyboard to its end", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.page.setViewportSize({ width: 320, height: 256 }); // as large as at four times its size
  await stage.dispute(ann, bob, "Lunch with everybody who has time ".repeat(9), "Supper");
  const place = () =>
    ann.conflict.evaluate(({ scrollTop, scrollHeight, clientHeight, scrollWidth, clientWidth }) => ({
      toEnd: scrollHeight - clientHeight - scrollTop,
      aside: scrollWidth - clientWidth,
      scrollTop,
    }));
  const { toEnd, ...beginning } = await place();
  expect(beginning).toEqual({ scrollTop: 0, aside: 0 });
  expect(toEnd).toBeGreaterThan(0);
  await ann.page.keyboard.press("End");
  await expect.poll(async () => (await place()).toEnd, { timeout: 100_000 }).toBeLessThan(1);
  await ann.conflict.getByRole("button", { name: "Keep theirs" }).press("Enter");
  await ann.sees("Title", "Supper");
});

for (const [answer, ...result] of [
  ["Keep mine", "2021-05-06T16:00", "2021-05-06T17:00"],
  ["Keep theirs", "2021-05-06T20:00", "2021-05-06T21:00"],
] as const) {
  test(`an event that both moved while one was offline is asked about once: ${answer}`, async () => {
    const [ann, bob] = await lunch();
    await retime(ann, bob, ["Start", "16:00"], ["Start", "20:00"]);
    await ann.conflict.getByText("Bob changed when it is too").waitFor();
    expect(await choices(ann)).toEqual(["16:00 – 17:00", "20:00 – 21:00", "10:00 – 11:00"]);
    await ann.conflict.getByRole("button", { name: answer }).click();
    await ann.conflict.waitFor({ state: "detached" });
    for (const person of [ann, bob])
      await expect.poll(() => times(person), { timeout: 100_000 }).toEqual(result);
    expect(await ann.button("Dismiss").count()).toBe(0); // nothing was refused
  });
}

test("their end of an event that was moved past it comes with their start", async () => {
  const [ann, bob] = await lunch();
  await retime(ann, bob, ["Start", "16:00"], ["End", "12:00"]);
  await ann.conflict.getByText("Bob changed when it is too").waitFor();
  expect(await choices(ann)).toEqual(["16:00 – 17:00", "10:00 – 12:00", "10:00 – 11:00"]);
  await ann.conflict.getByRole("button", { name: "Keep theirs" }).click();
  await ann.conflict.waitFor({ state: "detached" });
  for (const person of [ann, bob])
    await expect
      .poll(() => times(person), { timeout: 100_000 })
      .toEqual(["2021-05-06T10:00", "2021-05-06T12:00"]);
  expect(await ann.button("Dismiss").count()).toBe(0); // nothing was refused
});

test("an end that doesn't fit any more, for the event was moved meanwhile, is told in plain words", async () => {
  const [ann, bob] = await lunch();
  await retime(ann, bob, ["End", "12:00"], ["Start", "20:00"]);
  const told = ann.page.getByRole("alert").filter({ hasText: "The end can’t be before the start." });
  await told.waitFor();
  expect(await told.textContent()).not.toContain("end_time");
  await expect.poll(() => times(ann), { timeout: 100_000 }).toEqual(["2021-05-06T20:00", "2021-05-06T21:00"]);
});
