/** Many tabs of one user, on a real gateway, with the platform's own Web Locks and BroadcastChannel. */

import { type Channel, type Client, type Json, memoryStore, type Store } from "@collab/client";
import { describe, expect, test } from "vitest";
import { type Event, People } from "./support/people.js";
import { until } from "./support/until.js";

// Node has Web Locks from version 24 on; browsers have had them for years.
const hasLocks = "locks" in (globalThis.navigator ?? {});
const people = new People();
let count = 0;

/** The same store in each tab, as a browser's origin has it. */
function shared(): () => Store {
  const values = new Map<string, Json>();
  const name = `tabs ${process.pid} ${++count}`;
  return () => ({ ...memoryStore(values), name });
}

async function opened(client: Client, id: string) {
  const document = client.open<Event>("event", id);
  await document.ready();
  return document;
}

describe.skipIf(!hasLocks)("tabs", () => {
  test("one leads and the other follows, as one client", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync", description: "" });
    const store = shared();
    const [one, two] = [people.client("ann", { store: store() }), people.client("ann", { store: store() })];
    const first = await opened(one, ben.id);
    const second = await opened(two, ben.id);
    expect(two.clientId).toBe(one.clientId);
    expect(two.connection.snapshot.state).toBe("online");
    expect(second.snapshot).toMatchObject({ view: { title: "Sync" }, role: "admin", isLive: true });

    second.set("/title", "From the second tab");
    await second.saved();
    expect(first.snapshot.view?.title).toBe("From the second tab");
    await until(ben, (now) => now.view?.title === "From the second tab");
    first.setText("/description", "first");
    ben.set("/location", "Room 1");
    const all = { title: "From the second tab", description: "first", location: "Room 1" };
    await until(second, (now) => JSON.stringify(now.view) === JSON.stringify(all) && now.pending === 0);
    expect(ben.presence.snapshot.others).toHaveLength(1);
    await until(second.presence, (now) => now.others[0]?.user_id === "ben");
  });

  test("offline they see each other's edits, and those go out once", async () => {
    const { document: ben } = await people.event("ben", { description: "", tags: [] });
    const store = shared();
    const [one, two] = [people.client("ann", { store: store() }), people.client("ann", { store: store() })];
    const first = await opened(one, ben.id);
    const second = await opened(two, ben.id);
    two.disconnect();
    await until(two.connection, (now) => now.isPaused);
    expect(one.connection.snapshot.isPaused).toBe(true);
    for (let edit = 0; edit < 10; edit++) {
      first.edit({ op: "add", path: "/tags/-", value: `first ${edit}` });
      second.edit({ op: "add", path: "/tags/-", value: `second ${edit}` });
    }
    await until(first, (now) => now.view?.tags?.length === 20);
    await until(second, (now) => now.view?.tags?.length === 20);
    expect(second.snapshot.pending).toBeGreaterThan(0);
    expect(second.snapshot.view).toEqual(first.snapshot.view);
    two.connect();
    await second.saved();
    await until(ben, (now) => now.view?.tags?.length === 20);
    expect(new Set(ben.snapshot.view?.tags).size).toBe(20);
  });

  test("when the leading tab closes, another goes on with its queue", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync", tags: [] });
    const store = shared();
    const [one, two] = [people.client("ann", { store: store() }), people.client("ann", { store: store() })];
    const first = await opened(one, ben.id);
    const second = await opened(two, ben.id);
    one.disconnect();
    await until(two.connection, (now) => now.isPaused);
    first.edit({ op: "add", path: "/tags/-", value: "first" });
    second.edit({ op: "add", path: "/tags/-", value: "second" });
    await until(second, (now) => now.view?.tags?.length === 2);
    await one.close();
    await until(two.connection, (now) => now.state === "online");
    second.edit({ op: "add", path: "/tags/-", value: "third" });
    await second.saved();
    await until(ben, (now) => now.view?.tags?.length === 3);
    expect([...(ben.snapshot.view?.tags ?? [])].sort()).toEqual(["first", "second", "third"]);
    expect(second.snapshot.view).toEqual(ben.snapshot.view);
  });

  test("a leading tab that was put to sleep is replaced, and follows when it wakes up", async () => {
    const { document: ben } = await people.event("ben", { tags: [] });
    const store = shared();
    let isAsleep = false;
    const channel = (name: string): Channel => {
      const inner = new BroadcastChannel(name);
      const own: Channel = {
        onmessage: null,
        post: (note) => isAsleep || inner.postMessage(note),
        close: () => inner.close(),
      };
      inner.onmessage = (event) => isAsleep || own.onmessage?.((event as MessageEvent).data);
      return own;
    };
    const one = people.client("ann", { store: store(), environment: { channel } });
    const first = await opened(one, ben.id);
    first.edit({ op: "add", path: "/tags/-", value: "first" });
    await first.saved();
    isAsleep = true;
    const two = people.client("ann", { store: store() });
    const second = await opened(two, ben.id);
    expect(second.snapshot.view?.tags).toEqual(["first"]);
    second.edit({ op: "add", path: "/tags/-", value: "second" });
    await second.saved();
    isAsleep = false;
    first.edit({ op: "add", path: "/tags/-", value: "awake" });
    await until(second, (now) => now.view?.tags?.length === 3 && now.pending === 0);
    await until(ben, (now) => now.view?.tags?.length === 3);
    await until(first, (now) => now.view?.tags?.length === 3);
    expect(first.snapshot.view).toEqual(ben.snapshot.view);
  }, 30_000);

  test("a tab types while the other does, and the texts are equal", async () => {
    const { document: ben } = await people.event("ben", { description: "" });
    const store = shared();
    const [one, two] = [people.client("ann", { store: store() }), people.client("ann", { store: store() })];
    const tabs = [await opened(one, ben.id), await opened(two, ben.id), ben];
    for (let key = 0; key < 30; key++) {
      for (const [at, tab] of tabs.entries()) {
        const letter = "abc"[at];
        tab.setText("/description", (tab.snapshot.view?.description ?? "") + letter);
      }
      await new Promise((done) => setTimeout(done, 10));
    }
    await Promise.all(tabs.map((tab) => tab.saved()));
    for (const tab of tabs) await until(tab, (now) => now.view?.description?.length === 90);
    const texts = tabs.map((tab) => tab.snapshot.view?.description);
    expect(new Set(texts).size).toBe(1);
    for (const letter of "abc") expect(texts[0]?.split(letter)).toHaveLength(31);
  });
});
