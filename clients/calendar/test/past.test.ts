/** Events as they were, as a real gateway tells them. */

import { expect, test } from "vitest";
import { People } from "../../client/test/support/people.js";
import type { EventDocument } from "../src/event.js";
import { eventAt } from "../src/past.js";

const people = new People();

/** An event of two versions, and what is asked of it over HTTP, as far as that isn't down. */
async function changed() {
  const line = { asked: 0, isDown: false };
  const get: typeof fetch = async (...request) => {
    line.asked++;
    if (line.isDown) throw new TypeError("fetch failed");
    return fetch(...request);
  };
  const alone = { locks: null, channel: null };
  const client = people.client("ann", { environment: { ...alone, fetch: get } });
  const document = client.open<EventDocument>("event", people.newId());
  await document.ready();
  document.create({ title: "Lunch" });
  await document.saved();
  document.set("/title", "Supper");
  await document.saved();
  return { document, line };
}

test("a version is asked for once, however often it is needed", async () => {
  const { document, line } = await changed();
  const [one, other] = await Promise.all([eventAt(document, 1), eventAt(document, 1)]);
  expect([one, other, await eventAt(document, 1)]).toEqual(Array(3).fill({ title: "Lunch" }));
  expect(line.asked).toBe(1);
  expect(await eventAt(document, 2)).toEqual({ title: "Supper" });
  expect(line.asked).toBe(2);
});

test("what couldn't be asked for is asked for again", async () => {
  const { document, line } = await changed();
  line.isDown = true;
  await expect(eventAt(document, 1)).rejects.toThrow("can't be reached");
  line.isDown = false;
  expect(await eventAt(document, 1)).toEqual({ title: "Lunch" });
});
