import { readFileSync } from "node:fs";
import { join } from "node:path";
import { memoryStore } from "@collab/client";
// @ts-expect-error: it comes without types, and a document is all that is used
import { JSDOM } from "jsdom";
import { afterEach, expect, it, vi } from "vitest";
import { type Event, People } from "../../client/test/support/people.js";
import { until } from "../../client/test/support/until.js";

const people = new People();
afterEach(() => vi.unstubAllGlobals());

it("takes no title of an event that isn't there, and takes one when it is", async () => {
  const id = people.newId();
  const html = readFileSync(join(import.meta.dirname, "../page.html"), "utf8");
  const { document, Event } = new JSDOM(html).window;
  const query = { gateway: people.gateway.url, token: people.gateway.token("ann"), event: id };
  vi.stubGlobal("location", { search: `?${new URLSearchParams(query)}` });
  vi.stubGlobal("document", document);
  const store = memoryStore();
  const value = async <Value>(work: Promise<Value>) => ({ value: await work });
  const collabFiles = {
    read: (key: string) => value(store.read(key)),
    write: (pairs: [string, never][]) => value(store.write(new Map(pairs))),
    keys: (prefix: string) => value(store.keys(prefix)),
    close: () => value(store.close()),
  };
  vi.stubGlobal("window", { collabFiles });
  const title = document.querySelector("#title");
  expect(title.disabled).toBe(true);
  await import("../page.mjs");
  await vi.waitFor(() => expect(title.placeholder).toBe("There is no such event."), 100_000);
  expect(title.disabled).toBe(true);

  const ben = people.client("ben").open<Event>("event", id);
  await ben.ready();
  ben.create({ title: "Sync" });
  await vi.waitFor(() => expect([title.value, title.disabled]).toEqual(["Sync", false]), 100_000);
  title.value = "Stand-up";
  title.dispatchEvent(new Event("input"));
  await until(ben, (now) => now.view?.title === "Stand-up");

  title.focus();
  title.setSelectionRange(2, 5);
  ben.setText("/title", "Our Stand-up today");
  await vi.waitFor(() => expect(title.value).toBe("Our Stand-up today"), 100_000);
  expect([title.selectionStart, title.selectionEnd]).toEqual([6, 9]);
});
