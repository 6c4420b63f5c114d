/** Events as they were, as a real gateway tells them. */

import { expect, test } from "vitest";
import { People } from "../../client/test/support/people.js";
import type { EventDocument } from "../src/event.js";
import { eventAt } from "../src/past.js";

const people = new People();

/** An event, and what is asked of it over HTTP, as far as that isn't down. */
async function event() {
  const line = { asked: [] as string[], isDown: false };
  const get: typeof fetch = async (...request) => {
    line.asked.push(String(request[0]));
    if (line.isDown) throw new TypeError("fetch failed");
    return fetch(...request);
  };
  const alone = { locks: null, channel: null };
  const client = people.client("ann", { typingIntervalMs: 0, environment: { ...alone, fetch: get } });
  const document = client.open<EventDocument>("event", people.newId());
  await document.ready();
  document.create({ title: "1" });
  await document.saved();
  const change = async (upTo: number) => {
    for (let title = document.snapshot.version + 1; title <= upTo; title++) {
      document.set("/title", String(title));
      await document.saved();
    }
  };
  return { document, line, change };
}

const titles = (versions: number[]) => versions.map((version) => ({ title: String(version) }));

test("versions that are asked for together are found by one request, and asked for once", async () => {
  const { document, line, change } = await event();
  await change(12);
  const versions = [11, 3, 1, 8];
  const ask = () => Promise.all(versions.map((version) => eventAt(document, version)));
  expect(await ask()).toEqual(titles(versions));
  expect(await ask()).toEqual(titles(versions));
  expect(line.asked).toHaveLength(1);
  expect(line.asked[0]).toContain("/history?");
});

test("a later version is found by the changes since, an earlier one is gone to", async () => {
  const { document, line, change } = await event();
  await change(6);
  expect(await eventAt(document, 4)).toEqual({ title: "4" });
  await change(8);
  line.asked.length = 0;
  expect(await eventAt(document, 7)).toEqual({ title: "7" });
  expect(line.asked).toEqual([expect.stringContaining("from=5")]);
  line.asked.length = 0;
  expect(await eventAt(document, 2)).toEqual({ title: "2" });
  expect(line.asked).toEqual([expect.stringContaining("version=2")]);
});

test("of versions far apart, nothing between them is read", async () => {
  const { document, line, change } = await event();
  await change(510);
  const versions = [509, 3, 508, 2];
  expect(await Promise.all(versions.map((version) => eventAt(document, version)))).toEqual(titles(versions));
  expect(line.asked).toEqual(
    ["from=1&before=4&", "from=509&before=510&", "version=508"].map((part) => expect.stringContaining(part)),
  );
});

test("what couldn't be asked for is asked for again", async () => {
  const { document, line, change } = await event();
  await change(2);
  line.isDown = true;
  await expect(eventAt(document, 1)).rejects.toThrow("can't be reached");
  line.isDown = false;
  expect(await eventAt(document, 1)).toEqual({ title: "1" });
});

test("of a history whose beginning isn't kept less is known", async () => {
  const { document, change } = await event();
  await change(9);
  await people.gateway.trim(`event:${document.id}`, 5);
  expect(await Promise.all([2, 4].map((version) => eventAt(document, version)))).toEqual([null, null]);
  expect(await Promise.all([4, 6, 8].map((version) => eventAt(document, version)))).toEqual([
    null,
    ...titles([6, 8]),
  ]);
});
