/** The month after a reload, on a real gateway, which tells of it before the browser's store is read. */

import "../../react/test/support/screen.js";
import { type Json, memoryStore, type Store } from "@collab/client";
import { GatewayProvider } from "@collab/react";
import { act, cleanup, configure, renderHook, waitFor } from "@testing-library/react";
// @ts-expect-error: it comes without types, and what every browser has is all that is used
import { JSDOM } from "jsdom";
import type { ReactNode } from "react";
import { afterEach, expect, test } from "vitest";
import { People } from "../../client/test/support/people.js";
import { goOffline, until } from "../../client/test/support/until.js";
import { useEvents } from "../src/events.js";
import { ofThisBrowser } from "../src/kept.js";

const { window: page } = new JSDOM("", { url: "http://localhost" });
for (const name of ["addEventListener", "removeEventListener", "dispatchEvent"])
  Object.assign(globalThis, { [name]: page[name].bind(page) });
Object.defineProperty(globalThis, "localStorage", { value: page.localStorage });

configure({ asyncUtilTimeout: 100_000 });

const people = new People();

afterEach(cleanup);

/** The month in a tab of Ann's that is over a store. */
function open(store: Store) {
  const client = people.client("ann", { store, environment: { locks: null, channel: null } });
  const wrapper = ({ children }: { children: ReactNode }) => (
    <GatewayProvider client={client}>{children}</GatewayProvider>
  );
  const { result, unmount } = renderHook(() => useEvents("ann", ofThisBrowser), { wrapper });
  const titles = () => result.current.items.map(({ title }) => title);
  return { client, result, unmount, titles };
}

/** A store that reads what is kept of events once `read` is called. */
function held(store: Store): { store: Store; read(): void } {
  let read = () => {};
  const isOver = new Promise<void>((resolve) => {
    read = resolve;
  });
  const late = async (key: string) => {
    if (key.includes("event")) await isOver;
    return store.read(key);
  };
  return { store: { ...store, read: late }, read };
}

test("what was changed offline is in the month as it was shown until it is read, whatever others know", async () => {
  const values = new Map<string, Json>();
  const before = open(memoryStore(values));
  for (const title of ["Lunch", "Talk"]) {
    const document = people.client("ben").open("event", title);
    await document.ready();
    document.create({ title, calendar_id: "demo" });
    await document.saved();
  }
  await waitFor(() => expect(before.titles()).toEqual(["Lunch", "Talk"]));
  const [lunch, talk] = ["Lunch", "Talk"].map((id) => before.client.open("event", id));
  await Promise.all([lunch!.ready(), talk!.ready()]);
  await goOffline(before.client);
  lunch!.set("/title", "Brunch");
  talk!.delete().catch(() => {});
  act(() => ["Lunch", "Talk"].forEach(before.result.current.changed));
  await waitFor(() => expect(before.titles()).toEqual(["Brunch"]));
  await Promise.all([lunch!.stored(), talk!.stored()]);
  dispatchEvent(new page.Event("pagehide"));
  before.unmount();
  await before.client.close();
  const { store, read } = held(memoryStore(values));
  const after = open(store);
  await waitFor(() => expect(after.result.current.isLive).toBe(true));
  expect(after.titles()).toEqual(["Brunch"]);
  read();
  await until(people.client("ben").calendar("demo"), ({ items }) => items[0]?.title === "Brunch");
  expect(after.titles()).toEqual(["Brunch"]);
});
