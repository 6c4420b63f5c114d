/** An event that two people moved at once. */

import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();
const HERE = { timezoneId: "America/New_York", locale: "en-GB" };

const times = async (person: Person) =>
  Promise.all(["Start", "End"].map((name) => person.textbox(name).inputValue()));

for (const [answer, ...result] of [
  ["Keep mine", "2021-05-06T16:00", "2021-05-06T17:00"],
  ["Keep theirs", "2021-05-06T20:00", "2021-05-06T21:00"],
] as const) {
  test(`an event that both moved while one was offline is asked about once: ${answer}`, async () => {
    const event = await stage.make("lunch", {
      title: "Lunch",
      start_time: "2021-05-06T14:00:00Z",
      end_time: "2021-05-06T15:00:00Z",
    });
    const ann = await stage.arrive("Ann", event, undefined, HERE);
    const bob = await stage.arrive("Bob", event, undefined, HERE);
    for (const person of [ann, bob]) await person.sees("Title", "Lunch");
    await ann.workOffline(true);
    await ann.says("offline");
    await ann.textbox("Start").fill("2021-05-06T16:00");
    await bob.textbox("Start").fill("2021-05-06T20:00");
    await bob.says("saved");
    await ann.workOffline(false);
    await ann.conflict.getByText("Bob changed when it is too").waitFor();
    const choices = await ann.conflict.getByRole("definition").allTextContents();
    expect(choices.map((text) => text.replace(/.*2021, /, ""))).toEqual([
      "16:00 – 17:00",
      "20:00 – 21:00",
      "10:00 – 11:00",
    ]);
    await ann.conflict.getByRole("button", { name: answer }).click();
    await ann.conflict.waitFor({ state: "detached" });
    for (const person of [ann, bob])
      await expect.poll(() => times(person), { timeout: 20_000 }).toEqual(result);
    expect(await ann.button("Dismiss").count()).toBe(0); // nothing was refused
  });
}
