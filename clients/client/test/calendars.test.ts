/** Lists and calendars, on a real gateway. */

import type { Client } from "@collab/client";
import { expect, test } from "vitest";
import { People } from "./support/people.js";
import { until } from "./support/until.js";

const PATIENCE = { timeout: 100_000, interval: 500 };
const people = new People();
let count = 0;

/** A calendar of its own with so many events, made by `client`. */
async function calendarOf(client: Client, events: number): Promise<string> {
  const calendar = `calendar-${++count}`;
  for (let number = 0; number < events; number++) {
    const document = client.open("event", `${calendar}-${number}`);
    await document.ready();
    document.create({ title: `Event ${number}`, description: calendar, calendar_id: calendar });
  }
  await client.saved();
  return calendar;
}

/** The titles of each page. */
async function pagesOf(
  find: (after: { after?: string }) => Promise<{ items: unknown; next: string | null }>,
) {
  const pages: string[][] = [];
  for (let after: string | null = ""; after !== null; ) {
    const page = await find(after ? { after } : {});
    pages.push((page.items as { title: string }[]).map(({ title }) => title));
    after = page.next;
  }
  return pages;
}

test("a list goes on where the page before ended", async () => {
  const client = people.client("ann");
  const calendarId = await calendarOf(client, 3);
  const pages = () => pagesOf((after) => client.list("event", { calendarId, limit: 2, ...after }));
  await expect.poll(pages, PATIENCE).toEqual([["Event 0", "Event 1"], ["Event 2"]]);
});

test("a search goes on where the page before ended", async () => {
  const client = people.client("ann");
  const q = await calendarOf(client, 3);
  const found = (after: object) => client.search({ q, limit: 2, ...after }) as Promise<never>;
  const lengths = async () => (await pagesOf(found)).map(({ length }) => length);
  await expect.poll(lengths, PATIENCE).toEqual([2, 2, 2, 0]); // three documents, and the changes that made them
});

test("while real time is switched off a calendar of more than a page is shown whole", async () => {
  const id = await calendarOf(people.client("ann"), 205);
  people.gateway.configure("[features]\nrollout_percentage = 0\n");
  const client = people.client("ben");
  await until(client.connection, (now) => now.state === "polling"); // the gateway has heard of it
  const calendar = client.calendar(id);
  await until(calendar, (now) => now.items.length === 205);
  expect(calendar.snapshot.isLive).toBe(false);
});
