/** Many tabs of one user, on a real gateway, with the platform's own Web Locks and BroadcastChannel. */

import {
  type CalendarSnapshot,
  type Client,
  type Conflict,
  type DocumentSnapshot,
  type Json,
  type Locks,
  type Problem,
  type SharedDocument,
  StoreFullError,
} from "@collab/client";
import { describe, expect, test, vi } from "vitest";
import { equal } from "../src/kernel/index.js";
import { locksOf } from "../src/tabs/platform.js";
import { FakeSignal } from "./support/fake.js";
import { gate } from "./support/gate.js";
import { type Event, People } from "./support/people.js";
import { problemsOf } from "./support/problems.js";
import { filling } from "./support/stores.js";
import {
  cuttable,
  gated,
  gatedWrites,
  hasty,
  heard,
  holding,
  holdingSockets,
  MortalTab,
  Origin,
  opened,
  pair,
  retold,
  watchedSockets,
  watchful,
} from "./support/tabs.js";
import { goOffline, until } from "./support/until.js";

// Node has Web Locks from version 24 on, so CI has them; browsers have had them for years.
const hasLocks = "locks" in (globalThis.navigator ?? {});
const people = new People();

/** A conflict in what a tab that leads wrote offline. */
async function clash(ben: SharedDocument<Event>, leading: Client, document: SharedDocument<Event>) {
  await goOffline(leading);
  document.set("/title", "Mine");
  document.set("/location", "My room");
  ben.set("/title", "Theirs");
  await ben.saved();
  leading.connect();
  await until(document, (now) => now.conflicts.length > 0);
}

describe.skipIf(!hasLocks && !process.env.CI)("tabs", () => {
  test("one leads and the other follows, as one client", async () => {
    const { ben, one, two, first, second } = await pair(people, {
      value: { title: "Sync", description: "" },
    });
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
    await until(second.presence, (now) => now.others[0]?.user_id === "ben");
    const { others } = await until(ben.presence, (now) => now.others.length > 0);
    expect(others).toHaveLength(1);
  });

  test("what another tab edits is told as remote, in the leading one as well", async () => {
    const { first, second } = await pair(people);
    const told: string[] = [];
    for (const [name, document] of Object.entries({ first, second }))
      document.onChange(({ origin }) => told.push(`${name} ${origin}`));
    second.set("/title", "From the second tab");
    await until(first, (now) => now.view?.title === "From the second tab");
    first.set("/title", "From the first tab");
    await until(second, (now) => now.view?.title === "From the first tab");
    expect(told).toEqual(["second local", "first remote", "first local", "second remote"]);
  });

  test("what is typed in one tab isn't undone with what was typed in another", async () => {
    const { first, second } = await pair(people);
    second.set("/title", "Sync,");
    await until(first, (now) => now.view?.title === "Sync,");
    first.set("/title", "Sync, mine");
    first.undo();
    expect(first.snapshot.view?.title).toBe("Sync,");
  });

  test("what one tab does is taken back there, and not in the leading one", async () => {
    const { first, second } = await pair(people);
    first.set("/location", "Room 1");
    await until(second, (now) => now.view?.location === "Room 1");
    second.set("/title", "From the second tab");
    await until(first, (now) => now.view?.title === "From the second tab");
    first.undo();
    expect(first.snapshot).toMatchObject({ view: { title: "From the second tab" }, canRedo: true });
    expect(first.snapshot.view).not.toHaveProperty("location");
    await until(second, (now) => now.view?.location === undefined);
    second.undo();
    await until(first, (now) => now.view?.title === "Sync");
    first.redo();
    await until(second, (now) => now.view?.location === "Room 1");
    expect(second.snapshot.view?.title).toBe("Sync");
  });

  test("what is resolved in one tab isn't told as local in the leading one, nor taken back there", async () => {
    const { ben, one, first, second } = await pair(people);
    first.set("/location", "Room 1");
    await first.saved();
    await goOffline(one);
    second.set("/title", "Mine");
    await until(first, (now) => now.view?.title === "Mine");
    ben.set("/title", "Theirs");
    await ben.saved();
    one.connect();
    const { conflicts } = await until(second, (now) => now.conflicts.length > 0);
    const origins: string[] = [];
    first.onChange(({ origin }) => origins.push(origin));
    second.resolve(conflicts[0]?.id ?? "", "theirs");
    await until(first, (now) => now.view?.title === "Theirs");
    expect(origins).toEqual(["remote"]);
    first.undo();
    expect(first.snapshot.view).toEqual({ title: "Theirs" });
    await until(ben, (now) => now.view?.title === "Theirs" && now.view.location === undefined);
  });

  test("offline they see each other's edits, and those go out once", async () => {
    const { ben, one, two, first, second } = await pair(people, { value: { description: "", tags: [] } });
    await goOffline(two);
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

  test("what waits in the leading tab counts in every tab, also where its document isn't open", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const [one, two] = [origin.tab(), origin.tab()];
    const first = await opened(one, ben.id);
    await until(two.connection, (now) => now.state === "online");
    one.disconnect();
    first.set("/title", "Waits");
    await until(two.sync, (now) => now.pending === 1 && now.isStored && now.state === "offline");
    const other = two.open<Event>("event", people.newId());
    other.create({ title: "Waits too" });
    await until(one.sync, (now) => now.pending === 2);
    await until(two.sync, (now) => now.pending === 2 && now.isStored);
    await one.close();
    await until(two.sync, (now) => now.pending === 2 && now.isStored && now.state === "offline");
    two.connect();
    await until(two.sync, (now) => now.pending === 0 && now.state === "saved");
    await until(ben, (now) => now.view?.title === "Waits");
  });

  test("what waits counts all the while another tab takes the lead", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const [one, two] = [origin.tab(), origin.tab()];
    const first = await opened(one, ben.id);
    await until(two.connection, (now) => now.state === "online");
    await goOffline(one, two);
    first.set("/title", "Waits");
    await until(two.sync, (now) => now.pending === 1);
    const told: number[] = [];
    two.sync.subscribe(() => told.push(two.sync.snapshot.pending));
    await one.close();
    two.connect();
    await until(ben, (now) => now.view?.title === "Waits");
    await until(two.sync, (now) => now.pending === 0);
    expect(told.filter((pending) => pending !== 1)).toEqual([0]);
  });

  test("when the leading tab closes, another goes on with its queue", async () => {
    const { ben, one, two, first, second } = await pair(people, { value: { title: "Sync", tags: [] } });
    await goOffline(one, two);
    first.edit({ op: "add", path: "/tags/-", value: "first" });
    second.edit({ op: "add", path: "/tags/-", value: "second" });
    await until(second, (now) => now.view?.tags?.length === 2);
    await one.close();
    two.connect();
    await until(two.connection, (now) => now.state === "online");
    second.edit({ op: "add", path: "/tags/-", value: "third" });
    await second.saved();
    await until(ben, (now) => now.view?.tags?.length === 3);
    expect([...(ben.snapshot.view?.tags ?? [])].sort()).toEqual(["first", "second", "third"]);
    expect(second.snapshot.view).toEqual(ben.snapshot.view);
  });

  test("a tab that takes the lead takes back what was done in it before, and leaves what was done in the other", async () => {
    const { ben, one, two, first, second } = await pair(people);
    second.set("/title", "Mine");
    await second.saved();
    first.set("/description", "first");
    await first.saved();
    second.set("/location", "Room 1");
    await second.saved();
    second.undo();
    await second.saved();
    await one.close();
    await until(two.connection, (now) => now.state === "online");
    await until(second, (now) => now.isLive);
    ben.set("/tags", ["ben"]);
    await until(second, (now) => now.view?.tags !== undefined);
    const rest = { description: "first", tags: ["ben"] };
    second.undo();
    expect(second.snapshot).toMatchObject({ view: { title: "Sync", ...rest }, canUndo: false });
    second.redo();
    second.redo();
    expect(second.snapshot.view).toEqual({ title: "Mine", location: "Room 1", ...rest });
    second.set("/description", "second");
    second.undo();
    second.undo();
    const view = { title: "Mine", ...rest };
    expect(second.snapshot.view).toEqual(view);
    await second.saved();
    await until(ben, ({ version }) => version === second.snapshot.version);
    expect(ben.snapshot.view).toEqual(view);
  });

  test("what a following tab hasn't handed over when it is closed goes to the leading one before", async () => {
    const { ben, two, second } = await pair(people, { value: { description: "" } });
    const typed = "Hello";
    for (let end = 1; end <= typed.length; end++) second.setText("/description", typed.slice(0, end));
    await two.close();
    await until(ben, (now) => now.view?.description === typed);
  });

  test("a following tab is closed though the leading one doesn't answer", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const { wire, environment } = cuttable();
    await opened(origin.tab({ environment }), ben.id);
    const two = origin.tab();
    const second = await opened(two, ben.id);
    wire.isCut = true;
    second.set("/title", "Unheard");
    await two.close();
    expect(second.snapshot.status).toBe("closed");
  });

  test("a following tab is closed at once though it has edits of a document that is forbidden by now", async () => {
    const { document: ben } = await people.event("ben", { description: "" });
    const origin = new Origin(people);
    let grants: Record<string, string> = { "event:*": "editor" };
    const getToken = () => people.gateway.token("ann", { grants });
    const one = origin.tab({ getToken });
    await until(one.connection, (now) => now.state === "online");
    const two = origin.tab({ getToken, environment: hasty(1_000) }); // nothing comes late
    const second = await opened(two, ben.id);
    second.setText("/description", "Sent");
    await second.saved();
    second.setText("/description", "Sent, and this waits for more");
    grants = { "event:another": "editor" };
    await goOffline(one, two);
    one.connect();
    await until(second, (now) => now.status === "forbidden");
    expect(second.snapshot.pending).toBe(1);
    await two.close();
    expect(second.snapshot.status).toBe("closed");
  });

  test("a leading tab that was put to sleep is replaced, and follows when it wakes up", async () => {
    const { document: ben } = await people.event("ben", { tags: [] });
    const origin = new Origin(people);
    const { wire, environment } = cuttable();
    const leaders = new Set<string>();
    const channel = new BroadcastChannel(origin.name);
    channel.onmessage = (event) => {
      const { kind, leader } = (event as MessageEvent).data;
      if (kind === "leading") leaders.add(leader);
    };
    const one = origin.tab({ environment });
    const first = await opened(one, ben.id);
    first.edit({ op: "add", path: "/tags/-", value: "first" });
    await first.saved();
    wire.isCut = true;
    const two = origin.tab();
    const second = await opened(two, ben.id);
    expect(second.snapshot.view?.tags).toEqual(["first"]);
    second.edit({ op: "add", path: "/tags/-", value: "second" });
    await second.saved();
    wire.isCut = false;
    first.edit({ op: "add", path: "/tags/-", value: "awake" });
    await until(second, (now) => now.view?.tags?.length === 3 && now.pending === 0);
    await until(ben, (now) => now.view?.tags?.length === 3);
    await until(first, (now) => now.view?.tags?.length === 3);
    expect(first.snapshot.view).toEqual(ben.snapshot.view);
    await two.close();
    first.set("/title", "Again");
    await first.saved();
    expect(leaders.size).toBe(3); // that the same tab leads again is seen by those that missed who led meanwhile
    channel.close();
  });

  test("a tab that only reads notices that the leading one was put to sleep", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const { document: another } = await people.event("ben", { title: "Lunch" });
    const origin = new Origin(people);
    const { wire, environment } = cuttable();
    await opened(origin.tab({ environment }), ben.id);
    const two = origin.tab({ environment: hasty(0.05) });
    const second = await opened(two, ben.id);
    await until(second, (now) => now.isLive);
    wire.isCut = true;
    const other = two.open<Event>("event", another.id);
    await until(other, (now) => now.view?.title === "Lunch");
    ben.set("/title", "Later");
    await until(second, (now) => now.view?.title === "Later");
  });

  test("a tab in the background that leads stays connected while another is seen, and comes back for it", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const foreground = new FakeSignal();
    const { said, webSocket, endIdle } = watchedSockets();
    const one = origin.tab({ environment: { foreground, webSocket } });
    await until(one.connection, (now) => now.state === "online");
    foreground.turn(false);
    const two = origin.tab({ environment: watchful });
    const second = await opened(two, ben.id);
    await vi.waitFor(() => expect(said).toContain("PING"), 100_000);
    endIdle();
    await until(second, (now) => !now.isLive);
    await until(two.connection, (now) => now.state === "online");
    await until(second, (now) => now.isLive);
    ben.set("/title", "Later");
    await until(second, (now) => now.view?.title === "Later");
  });

  test("a tab in the background that leads hears that another is seen though others write all the time", async () => {
    const { document: ben } = await people.event("ben", { description: "" });
    const origin = new Origin(people);
    const foreground = new FakeSignal();
    const { said, webSocket } = watchedSockets();
    const one = origin.tab({ environment: { foreground, webSocket } });
    await until(one.connection, (now) => now.state === "online");
    foreground.turn(false);
    await opened(origin.tab({ environment: watchful }), ben.id);
    said.length = 0;
    let written = "";
    while (!said.includes("PING")) {
      written += "x";
      ben.setText("/description", written);
      await ben.saved();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  });

  test("a tab that is seen leads in place of one in the background that polls to save power, and back", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const tab = () => {
      const foreground = new FakeSignal();
      return {
        foreground,
        client: origin.tab({ background: "poll", environment: { foreground } }),
      };
    };
    const [one, two, hidden] = [tab(), tab(), tab()];
    hidden.foreground.turn(false);
    const [first, second] = [await opened(one.client, ben.id), await opened(two.client, ben.id)];
    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const) {
      to.foreground.turn(true);
      first.set("/location", `with ${from === one ? "one" : "two"}`);
      await first.stored();
      from.foreground.turn(false);
      await until(to.client.connection, (now) => now.state === "online");
      const seen = to === one ? first : second;
      await until(seen, (now) => now.isLive && now.pending === 0);
      ben.set("/title", `seen in ${to === one ? "one" : "two"}`);
      await until(seen, (now) => now.view?.title === ben.snapshot.view?.title);
      await until(from.client.connection, (now) => now.state === "online" && !now.isPaused);
    }
    await until(ben, (now) => now.view?.location === "with two");
  });

  test("the tab that is seen leads though one in the background that sleeps has waited longer", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const tab = (isSeen: boolean, locks = locksOf()) => {
      const foreground = new FakeSignal();
      foreground.turn(isSeen);
      const environment = { foreground, locks };
      return {
        foreground,
        client: origin.tab({ background: "poll", environment }),
      };
    };
    const one = tab(true);
    await opened(one.client, ben.id);
    const { acquire, ...others } = locksOf();
    const { name } = origin;
    /** It gets the lock, and never knows. */
    const asleep = (lock: string, options: Parameters<typeof acquire>[1]) => {
      const lead = acquire(lock, options);
      return lock === name ? lead.then(() => new Promise<never>(() => {})) : lead;
    };
    await opened(tab(false, { ...others, acquire: asleep }).client, ben.id);
    const two = tab(true);
    const second = await opened(two.client, ben.id);
    one.foreground.turn(false);
    await until(two.client.connection, (now) => now.state === "online");
    await until(second, (now) => now.isLive);
    ben.set("/title", "Seen");
    await until(second, (now) => now.view?.title === "Seen");
  });

  test("a tab that yields the lead gives it to no other that waits", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const { name } = origin;
    const leads: string[] = [];
    const tab = (isSeen: boolean, called: string) => {
      const foreground = new FakeSignal();
      foreground.turn(isSeen);
      const { acquire, steal } = locksOf();
      const noted = (lock: string, lead: Promise<() => void>) =>
        lead.then((release) => {
          if (lock === name) leads.push(called);
          return release;
        });
      const locks: Locks = {
        acquire: (lock, options) => noted(lock, acquire(lock, options)),
        steal: (lock, options) => noted(lock, steal(lock, options)),
      };
      const environment = { foreground, locks };
      return {
        foreground,
        client: origin.tab({ background: "poll", environment }),
      };
    };
    const one = tab(true, "one");
    await opened(one.client, ben.id);
    await opened(tab(false, "hidden").client, ben.id);
    const two = tab(true, "two");
    const second = await opened(two.client, ben.id);
    one.foreground.turn(false);
    await vi.waitFor(() => expect(leads).toContain("two"), 100_000);
    expect(leads).toEqual(["one", "two"]);
    await until(second, (now) => now.isLive && now.pending === 0);
    await two.client.close();
    await vi.waitFor(() => expect(leads).toHaveLength(3), 100_000);
  });

  test("a tab in the background whose store is full keeps the lead until there is room", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync", description: "" });
    const { room, store } = filling(new Origin(people).store());
    const tab = () => {
      const foreground = new FakeSignal();
      const options = {
        store,
        background: "poll",
        environment: { foreground },
      } as const;
      return { foreground, client: people.client("ann", options) };
    };
    const [one, two] = [tab(), tab()];
    const first = await opened(one.client, ben.id);
    two.foreground.turn(false);
    const second = await opened(two.client, ben.id);
    room.isFull = true;
    first.setText("/description", "Mine");
    await expect(first.stored()).rejects.toBeInstanceOf(StoreFullError);
    await until(ben, (now) => now.view?.description === "Mine");
    ben.setText("/description", "Mine, theirs");
    await until(second, (now) => now.view?.description === "Mine, theirs");
    two.foreground.turn(true);
    first.setText("/description", "Mine, theirs, mine");
    one.foreground.turn(false);
    await until(two.client.connection, (now) => now.state === "polling");
    await until(ben, (now) => now.view?.description === "Mine, theirs, mine");
    room.isFull = false;
    second.setText("/description", "Mine, theirs, mine, mine");
    await until(two.client.connection, (now) => now.state === "online");
    await until(second, (now) => now.isLive && now.pending === 0);
    expect(second.snapshot.view?.description).toBe("Mine, theirs, mine, mine");
    await until(ben, (now) => now.view?.description === "Mine, theirs, mine, mine");
  });

  test("a tab in the background keeps the lead until what it has is stored", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const { isWriting, goOn, slow } = gatedWrites(`doc/event:${ben.id}`, "Kept");
    const foreground = new FakeSignal();
    const one = origin.tab({
      store: slow(origin.store()),
      background: "poll",
      environment: { foreground },
    });
    const first = await opened(one, ben.id);
    const two = origin.tab({ background: "poll" });
    const second = await opened(two, ben.id);
    first.set("/title", "Kept");
    await isWriting;
    foreground.turn(false);
    await until(two.connection, (now) => now.state === "polling");
    second.set("/location", "Room 1"); // the one that leads answers, and goes on leading
    await vi.waitFor(() => expect(first.snapshot.view?.location).toBe("Room 1"), 10_000);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(two.connection.snapshot.state).toBe("polling");
    goOn();
    await until(two.connection, (now) => now.state === "online");
    await until(second, (now) => now.isLive && now.pending === 0);
    await until(ben, (now) => now.view?.title === "Kept" && now.view.location === "Room 1");
  });

  test("whether a document may be seen is told in every tab, also where that changes", async () => {
    let grants: Record<string, string> = { "event:*": "editor" };
    const getToken = () => people.gateway.token("ann", { grants });
    const options = { one: { getToken }, two: { getToken } };
    const { ben, one, two, first, second } = await pair(people, options);
    const reconnect = async () => {
      await goOffline(one, two);
      one.connect();
    };
    for (const status of ["forbidden", "ready"] as const) {
      grants = status === "ready" ? { "event:*": "editor" } : { "event:another": "editor" };
      await reconnect();
      await until(first, (now) => now.status === status);
      await until(second, (now) => now.status === status && now.canEdit === (status === "ready"));
    }
    second.set("/title", "Again");
    await until(ben, (now) => now.view?.title === "Again");
  });

  test("what a tab had stored when it lost the lead is there once, and waited for", async () => {
    const { document: ben } = await people.event("ben", { description: "" });
    const origin = new Origin(people);
    const { wire, environment } = cuttable();
    const one = origin.tab({ environment });
    const first = await opened(one, ben.id);
    await goOffline(one);
    first.setText("/description", "hello");
    await first.stored();
    let isSaved = false;
    const saved = first.saved().then(() => {
      isSaved = true;
    });
    wire.isCut = true;
    const two = origin.tab({ connect: false });
    const second = await opened(two, ben.id);
    second.setText("/description", "hello world");
    await second.stored();
    wire.isCut = false;
    await until(first, (now) => now.view?.description === "hello world");
    expect(first.snapshot).toMatchObject({ pending: second.snapshot.pending, conflicts: [] });
    expect(isSaved).toBe(false);
    one.connect();
    await saved;
    await until(ben, (now) => now.view?.description === "hello world");
  });

  test("of what a tab had when it lost the lead, what it could not store is added to what it had stored", async () => {
    const { document: ben } = await people.event("ben", { description: "" });
    const origin = new Origin(people);
    const { room, store: full } = filling(origin.store());
    const { wire, environment } = cuttable();
    const one = origin.tab({ store: full, environment });
    const first = await opened(one, ben.id);
    await goOffline(one);
    first.setText("/description", "hello");
    await first.stored();
    room.isFull = true;
    first.setText("/description", "hello world");
    await expect(first.stored()).rejects.toBeInstanceOf(StoreFullError);
    wire.isCut = true;
    const two = origin.tab({ connect: false });
    const second = await opened(two, ben.id);
    expect(second.snapshot.view?.description).toBe("hello");
    wire.isCut = false;
    first.set("/title", "Awake");
    await until(second, (now) => now.view?.title === "Awake");
    expect(second.snapshot).toMatchObject({ view: { description: "hello world" }, conflicts: [] });
    two.connect();
    await first.saved();
    await until(ben, (now) => now.view?.description === "hello world");
    expect(first.snapshot).toMatchObject({ view: ben.snapshot.view, pending: 0 });
  });

  test("a write that is under way when a tab loses the lead counts as stored when it is done", async () => {
    const { document: ben } = await people.event("ben", { description: "" });
    const origin = new Origin(people);
    const { isWriting, goOn, slow } = gatedWrites(`doc/event:${ben.id}`, "hello");
    const { wire, environment } = cuttable();
    const one = origin.tab({ store: slow(origin.store()), environment });
    const first = await opened(one, ben.id);
    await goOffline(one);
    first.setText("/description", "hello");
    await isWriting;
    wire.isCut = true;
    const reading = gated(`doc/event:${ben.id}`);
    const two = origin.tab({ store: reading.slow(origin.store()), connect: false });
    const second = two.open<Event>("event", ben.id);
    await reading.isReading; // as a database would, it reads what was written before
    goOn();
    await first.stored();
    reading.goOn();
    await second.ready();
    second.setText("/description", "hello world");
    wire.isCut = false;
    first.set("/title", "Awake");
    await until(second, (now) => now.view?.title === "Awake");
    expect(second.snapshot).toMatchObject({ view: { description: "hello world" }, conflicts: [] });
  });

  test("an edit that comes to a leading tab while it closes is the next one's", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const { isWriting, goOn, slow } = gatedWrites(`doc/event:${ben.id}`, "Last words");
    const [one, two] = [origin.tab({ store: slow(origin.store()) }), origin.tab()];
    const first = await opened(one, ben.id);
    const second = await opened(two, ben.id);
    const problems = problemsOf(two);
    first.set("/description", "Last words");
    const closing = one.close();
    await Promise.all([isWriting, until(one.connection, (now) => now.state === "denied")]);
    const said = heard(origin.name, "OP", 1);
    second.set("/title", "Late");
    await said;
    const { state } = two.connection.snapshot;
    goOn();
    await closing;
    await second.saved();
    expect([problems, state]).toEqual([[], "online"]);
    await until(ben, (now) => now.view?.title === "Late");
  });

  test("a tab that is refused its lock works alone, also if it could have heard the leading one before", async () => {
    const origin = new Origin(people);
    const { ben, one, first } = await pair(people, { origin });
    const { isReached: isAsking, goOn: refuse, pass } = gate();
    const acquire: Locks["acquire"] = async () => {
      await pass();
      throw new DOMException("Denied", "SecurityError");
    };
    const alone = origin.tab({ environment: { locks: { ...locksOf(), acquire } } });
    const problems = problemsOf(alone);
    const third = alone.open<Event>("event", ben.id);
    await isAsking;
    const heardOf = new BroadcastChannel(origin.name);
    const isTold = new Promise<void>((resolve) => {
      heardOf.onmessage = (event) => (event as MessageEvent).data.kind === "leading" && resolve();
    });
    await goOffline(one);
    first.set("/location", "Room 1");
    await isTold;
    heardOf.close();
    refuse();
    await third.ready();
    third.set("/title", "Alone");
    await third.saved();
    await until(ben, (now) => now.view?.title === "Alone");
    await vi.waitFor(() => expect(problems.map(({ code }) => code)).toEqual(["STORE_UNAVAILABLE"]), 100_000);
  });

  test("a document that was kept is there offline, opened before it is known who leads", async () => {
    const origin = new Origin(people);
    const first = origin.tab({ connect: false });
    const made = first.open<Event>("event", people.newId());
    made.create({ title: "From the train" });
    await until(first.connection, (now) => now.isPaused);
    made.set("/location", "Room 1");
    await made.stored();
    await first.close();
    const again = origin.tab({ connect: false });
    const document = await opened(again, made.id);
    const view = { title: "From the train", location: "Room 1" };
    expect(document.snapshot).toMatchObject({ status: "ready", view, isStored: true });
    expect(document.snapshot.pending).toBeGreaterThan(0);
    again.connect();
    await document.saved();
  });

  test("a record that makes no sense is told once and set aside, and the client goes on", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const key = `event:${ben.id}`;
    const broken = { replica: { document: {}, version: 1, buffer: [[["rem", ["x"]]]] } };
    const values = new Map<string, Json>([[`doc/${key}`, broken]]);
    const client = new Origin(people, values).tab();
    const problems = problemsOf(client);
    const document = await opened(client, ben.id);
    expect(document.snapshot.view).toEqual({ title: "Sync" });
    expect(problems.map(({ code }) => code)).toEqual(["STORE_CORRUPT"]);
    expect(values.get(`corrupt/${key}`)).toEqual(broken);
  });

  test("what is edited while the dead tab's records are read is written over none of them", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const { document: bens } = await people.join(
      "ben",
      (await people.event("ben", { title: "Lunch" })).document.id,
    );
    const { isReading, goOn, slow } = gated(`doc/event:${ben.id}`);
    const origin = new Origin(people);
    const one = origin.tab();
    const firsts = [await opened(one, ben.id), await opened(one, bens.id)];
    const two = origin.tab({ store: slow(origin.store()) });
    const seconds = [await opened(two, ben.id), await opened(two, bens.id)];
    await goOffline(one, two);
    firsts[1]?.set("/location", "Room 1");
    await firsts[1]?.stored();
    await one.close();
    await isReading;
    seconds[1]?.set("/description", "Soup");
    goOn();
    two.connect();
    await seconds[1]?.saved();
    await until(bens, (now) => now.view?.description === "Soup");
    expect(bens.snapshot.view).toEqual({ title: "Lunch", location: "Room 1", description: "Soup" });
  });

  test("in a following tab an edit is stored when the leading one has stored it", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const { goOn, slow } = gatedWrites(`doc/event:${ben.id}`, "Lunch");
    const origin = new Origin(people);
    const one = origin.tab({ store: slow(origin.store()), connect: false });
    const two = origin.tab({ connect: false });
    one.connect();
    const first = await opened(one, ben.id);
    const second = await opened(two, ben.id);
    second.set("/title", "Lunch");
    let isStored = false;
    const stored = second.stored().then(() => {
      isStored = true;
    });
    await until(first, (now) => now.view?.title === "Lunch");
    expect([isStored, second.snapshot.isStored]).toEqual([false, false]);
    goOn();
    await stored;
    expect(second.snapshot.isStored).toBe(true);
  });

  test("a full store is told in following tabs as well", async () => {
    const origin = new Origin(people);
    const { room, store } = filling(origin.store());
    const { one, two, first, second } = await pair(people, { origin, one: { store } });
    await goOffline(one, two);
    room.isFull = true;
    second.set("/title", "Unstored");
    await expect(second.stored()).rejects.toBeInstanceOf(StoreFullError);
    expect(first.snapshot.view?.title).toBe("Unstored");
    expect(two.sync.snapshot).toMatchObject({ state: "unsaved", isStored: false });
  });

  test("who waits in a following tab for an edit to be stored is told that the document was closed", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const { isWriting, goOn, slow } = gatedWrites(`doc/event:${ben.id}`, "Lunch");
    const origin = new Origin(people);
    const [one, two] = [origin.tab({ store: slow(origin.store()) }), origin.tab()];
    await opened(one, ben.id);
    const second = await opened(two, ben.id);
    second.set("/title", "Lunch");
    const waiting = expect(second.stored()).rejects.toMatchObject({ code: "CLOSED" });
    await isWriting;
    await two.close();
    await waiting;
    goOn();
  });

  test("a tab that is closed while it takes the lead ends, and leaves the lead to others", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const { wire, environment } = cuttable();
    const one = origin.tab({ environment });
    await opened(one, ben.id);
    wire.isCut = true;
    const { isReached, goOn, pass } = gate();
    const locks = locksOf();
    const steal: Locks["steal"] = async (name, options) => {
      await pass();
      return locks.steal(name, options);
    };
    const two = origin.tab({ environment: { locks: { ...locks, steal } } });
    await isReached;
    const closing = two.close();
    goOn();
    await closing;
    const third = await opened(origin.tab(), ben.id);
    third.set("/title", "Led");
    await third.saved();
  });

  test("a tab that comes to the front asks again whether another leads, and leads if none does", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const { wire, environment } = cuttable();
    const one = origin.tab({ environment });
    await opened(one, ben.id);
    wire.isCut = true;
    const foreground = new FakeSignal();
    foreground.turn(false);
    const { isReached, pass } = gate();
    const isOn = () => {
      void pass();
      return foreground.isOn();
    };
    const asleep = { isOn, subscribe: (listener: () => void) => foreground.subscribe(listener) };
    const two = origin.tab({ environment: { foreground: asleep } });
    const second = two.open<Event>("event", ben.id);
    await isReached; // nobody answered, and it is in the background
    foreground.turn(true);
    await second.ready();
    expect(second.snapshot.view).toEqual({ title: "Sync" });
  });

  test("what is made offline in a following tab, some time after it was opened, is stored, and goes out", async () => {
    const origin = new Origin(people);
    const [one, two] = [origin.tab({ connect: false }), origin.tab({ connect: false })];
    const asked = heard(origin.name, "SUBSCRIBE", 1);
    const second = two.open<Event>("event", people.newId());
    await asked;
    second.create({ title: "From the train" });
    await second.stored();
    const first = await opened(one, second.id);
    expect(first.snapshot).toMatchObject({ view: { title: "From the train" }, isStored: true });
    two.connect();
    await second.saved();
    const { document: ben } = await people.join("ben", second.id);
    expect(ben.snapshot.view).toEqual({ title: "From the train" });
  });

  test("what is made before it is known who leads is stored once a tab does", async () => {
    const values = new Map<string, Json>();
    const client = new Origin(people, values).tab({ connect: false });
    const document = client.open<Event>("event", people.newId());
    document.create({ title: "Early" });
    expect(document.snapshot.isStored).toBe(false);
    await document.stored();
    expect(JSON.stringify(values.get(`doc/event:${document.id}`))).toContain("Early");
  });

  test("what a tab had not handed over when it took the lead is kept, waited for, or told as a conflict", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const values = new Map<string, Json>();
    const origin = new Origin(people, values);
    const { wire, environment } = cuttable();
    const one = origin.tab();
    const first = await opened(one, ben.id);
    const two = origin.tab({ environment });
    const second = await opened(two, ben.id);
    await goOffline(two);
    wire.isCut = true;
    second.set("/title", "From the second tab");
    second.set("/location", "Room 2");
    const saved = second.saved();
    first.set("/title", "From the first tab");
    await first.stored();
    await one.close();
    await until(second, (now) => now.view?.title === "From the first tab");
    expect(second.snapshot.view).toEqual({ title: "From the first tab", location: "Room 2" });
    expect(second.snapshot.conflicts).toMatchObject([
      { kind: "merged", path: "/title", mine: "From the second tab", theirs: "From the first tab" },
    ]);
    await second.stored();
    expect(JSON.stringify(values.get(`doc/event:${ben.id}`))).toContain("Room 2");
    two.connect();
    await saved;
    expect(second.snapshot.pending).toBe(0);
    await until(ben, (now) => now.view?.location === "Room 2");
  });

  test("what a tab could not hand over is told there as a conflict when another takes the lead", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const { wire, environment } = cuttable();
    const one = origin.tab();
    const first = await opened(one, ben.id);
    const second = await opened(origin.tab(), ben.id);
    const third = await opened(origin.tab({ environment }), ben.id);
    wire.isCut = true;
    third.set("/title", "From the third tab");
    first.set("/title", "From the first tab");
    await first.saved();
    await one.close();
    await until(second, (now) => now.isLive);
    wire.isCut = false;
    await until(third, (now) => now.conflicts.length > 0);
    expect(third.snapshot.view?.title).toBe("From the first tab");
    const [conflict] = third.snapshot.conflicts;
    expect(conflict).toMatchObject({ kind: "merged", path: "/title", mine: "From the third tab" });
    third.resolve(conflict?.id ?? "", "mine");
    await until(ben, (now) => now.view?.title === "From the third tab");
    expect(third.snapshot.conflicts).toEqual([]);
  });

  test("what a following tab was handing over while the document was deleted is told", async () => {
    const { wire, environment } = holding();
    const { ben, first, second } = await pair(people, { two: { environment } });
    wire.isHeld = true;
    second.set("/title", "Lunch");
    await ben.delete();
    await Promise.all([first, second].map((one) => until(one, (now) => now.view === null)));
    const { conflicts } = second.snapshot;
    expect(conflicts).toMatchObject([
      { path: "", base: { title: "Sync" }, mine: { title: "Lunch" }, theirs: null, userId: "ben" },
    ]);
    wire.goOn();
    const isThat = ({ conflicts: now }: DocumentSnapshot<Event>) => now[0]?.id === conflicts[0]?.id;
    await until(first, isThat);
    expect(first.snapshot.conflicts).toEqual(conflicts);
    await until(second, (now) => isThat(now) && !now.pending);
    second.resolve(conflicts[0]?.id ?? "", "mine");
    await until(ben, (now) => now.view?.title === "Lunch");
  });

  test("what a following tab was handing over while the document was deleted is told, also where it is there again", async () => {
    const { wire, environment } = holding();
    const { ben, first, second } = await pair(people, { two: { environment } });
    wire.isHeld = true;
    second.set("/title", "Lunch");
    await ben.delete();
    await until(second, (now) => now.view === null);
    ben.create({ title: "New" });
    await until(first, (now) => now.view?.title === "New");
    wire.goOn();
    const { conflicts } = await until(first, (now) => now.conflicts.length > 0);
    expect(conflicts).toMatchObject([{ path: "", mine: { title: "Lunch" }, theirs: null, userId: "ben" }]);
    await second.saved();
    expect(first.snapshot.conflicts).toHaveLength(1);
  });

  test("what a following tab wrote over, unseen, is told in each tab, with who wrote it", async () => {
    const { wire, environment } = holding();
    const { ben, first, second } = await pair(people, { two: { environment } });
    wire.isHeld = true;
    second.set("/title", "Lunch");
    ben.set("/title", "Dinner");
    ben.set("/location", "Room 1");
    await until(first, (now) => now.view?.location === "Room 1");
    wire.goOn();
    const { conflicts, view } = await until(first, (now) => now.conflicts.length > 0);
    expect(view).toEqual({ title: "Lunch", location: "Room 1" });
    expect(conflicts).toMatchObject([
      { kind: "overwrote", path: "/title", base: "Sync", mine: "Lunch", theirs: "Dinner", userId: "ben" },
    ]);
    await until(second, (now) => equal(now.conflicts as object as Json, conflicts as object as Json));
    second.resolve(conflicts[0]?.id ?? "", "theirs");
    await until(ben, (now) => now.view?.title === "Dinner");
  });

  test("what a following tab wrote over what this user wrote in another, or like others, isn't told", async () => {
    const { wire, environment } = holding();
    const { ben, first, second } = await pair(people, { two: { environment } });
    wire.isHeld = true;
    second.set("/title", "Lunch");
    second.set("/location", "Room 1");
    first.set("/title", "Dinner");
    ben.set("/location", "Room 1");
    await until(first, (now) => now.view?.location === "Room 1");
    wire.goOn();
    await until(ben, (now) => now.view?.title === "Lunch");
    await second.saved();
    expect(first.snapshot.conflicts).toEqual([]);
  });

  test("what a following tab wrote in an item that others removed is told", async () => {
    const { wire, environment } = holding();
    const value = { title: "Sync", attendees: [{ user_id: "ann" }, { user_id: "carol", note: "late" }] };
    const { ben, first, second } = await pair(people, { value: value as Event, two: { environment } });
    wire.isHeld = true;
    second.edit({ op: "replace", path: "/attendees/1/note", value: "early" });
    ben.remove("/attendees/1");
    await until(first, (now) => now.view?.attendees?.length === 1);
    wire.goOn();
    const { conflicts } = await until(second, (now) => now.conflicts.length > 0);
    expect(conflicts).toMatchObject([{ kind: "dropped", base: "late", mine: "early", userId: "ben" }]);
  });

  test.each([
    ["the answer", { op: "replace", path: "/attendees/0/response_status", value: "ACCEPTED" } as const],
    ["a note that it had not", { op: "add", path: "/attendees/0/note", value: "late" } as const],
  ])("of an item that others removed, %s is told though the next item is like it", async (_, edit) => {
    const { wire, environment } = holding();
    const attendees = ["ann", "bob"].map((user_id) => ({ user_id, response_status: "NEEDS_ACTION" }));
    const value = { title: "Sync", attendees };
    const { ben, first, second } = await pair(people, { value: value as Event, two: { environment } });
    wire.isHeld = true;
    second.edit(edit);
    ben.remove("/attendees/0");
    await until(first, (now) => now.view?.attendees?.length === 1);
    wire.goOn();
    await second.saved();
    const { conflicts, view } = await until(second, (now) => now.conflicts.length > 0);
    expect(conflicts).toMatchObject([
      { kind: "dropped", mine: edit.value, theirs: undefined, userId: "ben" },
    ]);
    expect(view?.attendees).toEqual([attendees[1]]);
  });

  test("what a following tab wrote several times in one place, unseen, is one question", async () => {
    const { wire, environment } = holding();
    const { ben, first, second } = await pair(people, { two: { environment } });
    await until(first, (now) => now.isLive);
    wire.isHeld = true;
    second.edit([
      { op: "replace", path: "/title", value: "L" },
      { op: "add", path: "/location", value: "Room 1" },
      { op: "replace", path: "/title", value: "Lunch" },
    ]);
    ben.set("/title", "Dinner");
    await until(first, (now) => now.view?.title === "Dinner");
    wire.goOn();
    const { conflicts } = await until(first, (now) => now.conflicts.length > 0);
    expect(conflicts).toMatchObject([{ path: "/title", base: "Sync", mine: "Lunch", theirs: "Dinner" }]);
    await second.saved();
  });

  test.each([
    ["with nothing on its way in the leading tab", [], "server"],
    ["with what is in flight there, of which the server tells first", ["/tags/0"], "server"],
    ["with what is in flight there, of which the server tells later", ["/tags/0"], "tab"],
    ["with what is in flight and what waits there", ["/tags/0", "/tags/1"], "server"],
  ])(
    "what a following tab was handing over, and what waited behind it, while the document was deleted is one question, %s",
    async (_, paths, earlier) => {
      const { wire, environment } = holding();
      const { wire: server, webSocket } = holdingSockets();
      const { ben, first, second } = await pair(people, {
        value: { title: "Sync", tags: [] },
        one: { environment: { webSocket } },
        two: { environment },
      });
      server.isHeld = true;
      for (const path of paths) second.edit({ op: "add", path, value: path });
      await second.stored();
      wire.isHeld = true;
      second.set("/title", "Lunch");
      second.set("/location", "Room 1");
      await ben.delete();
      await Promise.all([first, second].map((one) => until(one, (now) => now.view === null)));
      for (const held of earlier === "server" ? [server, wire] : [wire, server]) {
        held.goOn();
        await (held === server ? first.saved() : until(first, (now) => now.conflicts.length > 0));
      }
      await second.saved();
      const mine = { title: "Lunch", location: "Room 1", tags: paths };
      const { conflicts } = await until(first, (now) =>
        now.conflicts.some((one) => equal(one.mine ?? null, mine)),
      );
      expect(conflicts).toMatchObject([{ path: "", mine, theirs: null, version: 2 }]);
      await until(second, (now) => equal(now.conflicts as object as Json, conflicts as object as Json));
      second.resolve(conflicts[0]?.id ?? "", "mine");
      const { view } = await until(ben, (now) => now.view !== null);
      expect(view).toEqual(mine);
      await until(first, (now) => now.conflicts.length === 0);
    },
  );

  test("what a following tab made in a document that was deleted leaves older questions, and those of other tabs", async () => {
    const [two, three] = [holding(), holding()];
    const { ben, origin, one, first, second } = await pair(people, { two: { environment: two.environment } });
    const third = await opened(origin.tab({ environment: three.environment }), ben.id);
    await clash(ben, one, first);
    await first.saved();
    two.wire.isHeld = three.wire.isHeld = true;
    third.set("/title", "Dinner");
    second.set("/title", "Lunch");
    second.set("/location", "Room 1");
    await ben.delete();
    await Promise.all([second, third].map((one) => until(one, (now) => now.view === null)));
    three.wire.goOn();
    await third.saved();
    two.wire.goOn();
    await second.saved();
    const { conflicts } = await until(first, (now) => now.conflicts.length > 2);
    expect(conflicts).toMatchObject([
      { path: "/title", theirs: "Theirs" },
      { path: "", mine: { title: "Dinner" } },
      { path: "", mine: { title: "Lunch", location: "Room 1" } },
    ]);
    expect(conflicts).toHaveLength(3);
  });

  test.each([
    ["merge", "overwrote", 0],
    ["ask", "refused", 2],
  ] as const)(
    "what a following tab made in a document that was deleted, told when it is there again, leaves what is asked there: %s",
    async (onConflict, kind, pending) => {
      const { wire, environment } = holding();
      const { ben, one, first, second } = await pair(people, { two: { environment } });
      wire.isHeld = true;
      second.set("/title", "Lunch");
      second.set("/description", "Bring cake");
      await ben.delete();
      await Promise.all([first, second].map((each) => until(each, (now) => now.view === null)));
      ben.create({ title: "New" });
      await until(first, (now) => now.view !== null);
      one.open<Event>("event", ben.id, { onConflict });
      await clash(ben, one, first);
      wire.goOn();
      const isTold = (now: DocumentSnapshot<Event>) => now.conflicts.some(({ path }) => path === "");
      const { conflicts, ...rest } = await until(first, isTold);
      expect(conflicts).toMatchObject([
        { kind, path: "/title", mine: "Mine", theirs: "Theirs", version: 4 },
        { kind: "merged", path: "", mine: { title: "Lunch", description: "Bring cake" }, version: 2 },
      ]);
      expect(rest).toMatchObject({ view: { title: "Mine", location: "My room" }, pending });
      first.resolve(conflicts[0]?.id ?? "", "mine");
      await until(ben, (now) => now.view?.title === "Mine" && now.view.location === "My room");
    },
  );

  test("a test that an edit makes in a following tab holds in the leading one, or nothing of it is done", async () => {
    const { two, first, second } = await pair(people, { value: { title: "Sync", tags: ["a"] } });
    const problems = problemsOf(two);
    first.set("/title", "Taken");
    second.edit([
      { op: "test", path: "/title", value: "Sync" },
      { op: "add", path: "/location", value: "Room 1" },
    ]);
    await expect(second.saved()).rejects.toMatchObject({ code: "CONFLICT" });
    first.remove("/tags/0");
    second.edit([
      { op: "test", path: "/tags/0", value: "a" },
      { op: "add", path: "/location", value: "Room 2" },
    ]);
    await expect(second.saved()).rejects.toMatchObject({ code: "CONFLICT" });
    expect(problems.map(({ code }) => code)).toEqual(["EDIT_REFUSED", "EDIT_REFUSED"]);
    await until(second, (now) => now.view?.title === "Taken" && now.pending === 0);
    expect(second.snapshot.view).toEqual({ title: "Taken", tags: [] });
  });

  test("a test of a following tab is made by the server too", async () => {
    const { ben, one, two, first, second } = await pair(people);
    await goOffline(one, two);
    second.edit([
      { op: "test", path: "/title", value: "Sync" },
      { op: "replace", path: "/title", value: "Mine" },
    ]);
    const saved = expect(second.saved()).rejects.toMatchObject({ code: "CONFLICT" });
    await until(first, (now) => now.view?.title === "Mine");
    ben.set("/title", "Taken");
    await ben.saved();
    two.connect();
    await saved;
    await until(second, (now) => now.view?.title === "Taken");
  });

  test("what the server refuses is told in the tab that made it, after it was handed over", async () => {
    const { ben, one, two, first, second } = await pair(people);
    const problems = problemsOf(two);
    await goOffline(one, two);
    second.set("/start_time", "tomorrow");
    const early = expect(second.saved()).rejects.toMatchObject({ code: "INVALID_OPERATION" });
    await until(first, (now) => now.view?.start_time === "tomorrow");
    await second.stored(); // handed over, by then
    const late = expect(second.saved()).rejects.toMatchObject({ code: "INVALID_OPERATION" });
    two.connect();
    await Promise.all([early, late]);
    const patch = [{ op: "add", path: "/start_time", value: "tomorrow" }];
    expect(problems).toMatchObject([{ code: "EDIT_REFUSED", id: ben.id, operations: patch }]);
    await until(second, (now) => now.view?.start_time === undefined);
    second.set("/location", "Room 1");
    await second.saved();
  });

  test("conflicts are resolved together from a following tab too", async () => {
    const { ben, one, two, first, second } = await pair(people, { value: { title: "Sync", location: "1" } });
    await goOffline(one, two);
    for (const path of ["/title", "/location"]) {
      second.set(path, "Mine");
      ben.set(path, "Theirs");
    }
    await until(first, (now) => now.pending > 0);
    await ben.saved();
    one.connect();
    const { conflicts } = await until(second, (now) => now.conflicts.length === 2);
    const { version } = await until(ben, (now) => now.view?.location === "Mine");
    second.resolve(
      conflicts.map(({ id }) => id),
      "theirs",
    );
    const now = await until(ben, (now) => now.view?.title === "Theirs");
    expect(now).toMatchObject({ version: version + 1, view: { location: "Theirs" } });
    await until(second, (now) => now.conflicts.length === 0);
  });

  test("a resolution that can't be written is told with its conflict, in each tab", async () => {
    const attendees = ["ann", "ben", "carol"].map((user_id) => ({ user_id }));
    const { ben, one, two, first, second } = await pair(people, { value: { attendees } });
    await goOffline(one, two);
    second.set("/attendees/1/response_status", "ACCEPTED");
    await until(first, (now) => now.pending > 0);
    ben.remove("/attendees/1");
    await ben.saved();
    one.connect();
    const { conflicts } = await until(second, (now) => now.conflicts.length > 0);
    second.resolve(conflicts[0]?.id ?? "", "mine");
    for (const document of [first, second]) {
      const now = await until(document, (now) => !!now.conflicts[0]?.problem);
      expect(now).toMatchObject({ status: "ready", conflicts: [{ kind: "dropped" }] });
      expect(now.conflicts[0]?.problem).toMatch(/is gone\. Choose the other side/);
    }
    second.resolve(conflicts[0]?.id ?? "", "theirs");
    await until(second, (now) => now.conflicts.length === 0);
  });

  test("a resolution that is refused after another tab took the lead comes back where its item is by then", async () => {
    const attendees = ["ann", "ben", "carol"].map((user_id) => ({ user_id }));
    const { wire, environment } = cuttable();
    const { ben, one, two, first, second } = await pair(people, {
      value: { attendees },
      two: { environment },
    });
    await goOffline(two, one);
    const path = (index: number) => `/attendees/${index}/response_status`;
    first.set(path(1), "ACCEPTED");
    ben.set(path(1), "DECLINED");
    await ben.saved();
    one.connect();
    const { conflicts } = await until(first, (now) => now.conflicts.length > 0);
    await first.saved();
    await goOffline(two, one);
    first.resolve(conflicts[0]?.id ?? "", { value: "PERHAPS" });
    await until(second, (now) => now.view?.attendees?.[1]?.response_status === "PERHAPS");
    await first.stored();
    wire.isCut = true;
    second.remove("/attendees/0");
    await one.close();
    await second.stored();
    expect(second.snapshot).toMatchObject({ conflicts: [] });
    two.connect();
    const now = await until(second, (now) => now.conflicts.length > 0);
    expect(now.conflicts).toMatchObject([
      { id: conflicts[0]?.id, path: path(0), problem: expect.any(String) },
    ]);
  });

  test("a resolution that a following tab had not handed over comes back there where it is refused", async () => {
    const at = (hour: number) => `2026-11-30T${hour}:00:00Z`;
    const { wire, environment } = cuttable();
    const { ben, origin, one, two, first, second } = await pair(people, {
      value: { title: "Sync", start_time: at(10) },
    });
    const third = await opened(origin.tab({ environment }), ben.id);
    wire.isCut = true;
    third.set("/start_time", at(11));
    first.set("/start_time", at(12));
    await first.saved();
    await one.close();
    await until(second, (now) => now.isLive);
    wire.isCut = false;
    const { conflicts } = await until(third, (now) => now.conflicts.length > 0);
    wire.isCut = true;
    third.resolve(conflicts[0]?.id ?? "", { value: "tomorrow" });
    expect(third.snapshot.conflicts).toEqual([]);
    await two.close();
    const now = await until(third, (now) => now.conflicts.length > 0);
    expect(now.conflicts).toMatchObject([
      { id: conflicts[0]?.id, mine: at(11), problem: expect.any(String) },
    ]);
  });

  test("what waits in a tab that follows is asked about there alone, and goes when it is answered", async () => {
    const { wire, environment } = holding();
    const { ben, two, first, second } = await pair(people, { two: { environment } });
    two.open("event", ben.id, { onConflict: "ask" });
    wire.isHeld = true;
    second.set("/location", "Room 1"); // is on its way
    second.set("/title", "Mine");
    ben.set("/title", "Theirs");
    await until(second, (now) => now.conflicts.length > 0);
    wire.goOn();
    await until(ben, (now) => now.view?.location === "Room 1");
    await until(second, (now) => now.pending === 1);
    expect(first.snapshot.conflicts).toEqual([]);
    expect(second.snapshot.conflicts).toMatchObject([{ kind: "refused", mine: "Mine", theirs: "Theirs" }]);
    second.resolve(second.snapshot.conflicts[0]?.id ?? "", "mine");
    await until(ben, (now) => now.view?.title === "Mine");
    await until(second, (now) => now.pending === 0);
  });

  test("conflicts are the same object, in each tab, until something in them is another", async () => {
    const { ben, one, two, first, second } = await pair(people);
    await goOffline(one, two);
    first.set("/title", "Mine");
    ben.set("/title", "Theirs");
    await ben.saved();
    one.connect();
    const before = [first, second].map(async (tab) => {
      const { conflicts } = await until(tab, (now) => now.conflicts.length > 0);
      return conflicts;
    });
    const [mine, told] = await Promise.all(before);
    first.set("/location", "Room 1");
    await until(second, (now) => now.view?.location === "Room 1" && now.pending === 0);
    expect([first.snapshot.conflicts === mine, second.snapshot.conflicts === told]).toEqual([true, true]);
    second.resolve(told?.[0]?.id ?? "", "mine");
    await until(second, (now) => now.conflicts.length === 0);
  });

  test("that a document has conflicts is told by the tab that has its queue, once no tab has it open", async () => {
    const { ben, one, two, first, second } = await pair(people);
    const problems = [problemsOf(one), problemsOf(two)];
    await clash(ben, one, first);
    await until(second, (now) => now.conflicts.length > 0);
    first.close();
    second.close();
    await until(second, (now) => now.status === "closed");
    await until(first, (now) => now.status === "closed");
    expect(problems).toMatchObject([[{ code: "CONFLICT", id: ben.id }], []]);
  });

  test("a leading tab that ends leaves conflicts of what others have open to the next one, and tells nobody", async () => {
    const { ben, one, first, second } = await pair(people);
    const problems = problemsOf(one);
    await clash(ben, one, first);
    await until(second, (now) => now.conflicts.length > 0);
    first.close();
    await one.close();
    await until(second, (now) => now.isLive);
    expect(second.snapshot.conflicts).toMatchObject([{ path: "/title", mine: "Mine", theirs: "Theirs" }]);
    expect(problems).toEqual([]);
  });

  test("who leaves a document with conflicts that another tab has open isn't told of them", async () => {
    const { ben, one, two, first, second } = await pair(people);
    const problems = [problemsOf(one), problemsOf(two)];
    await clash(ben, one, first);
    await until(second, (now) => now.conflicts.length > 0);
    second.close();
    await until(second, (now) => now.status === "closed");
    const again = await opened(two, ben.id);
    first.close();
    await until(again, (now) => now.conflicts.length > 0 && now.isLive);
    expect(problems).toEqual([[], []]);
  });

  test("a tab that loses the lead isn't told of the conflicts of a document that another has open", async () => {
    const { wire, environment } = cuttable();
    const options = { one: { environment }, two: { environment: hasty(0.05) } };
    const { ben, one, first, second } = await pair(people, options);
    const problems = problemsOf(one);
    await clash(ben, one, first);
    first.close();
    await until(second, (now) => now.conflicts.length > 0);
    wire.isCut = true;
    second.set("/location", "Room 1"); // nobody answers
    await until(first, (now) => now.status === "closed");
    expect(problems).toEqual([]);
    await until(second, (now) => now.isLive && now.pending === 0);
    expect(second.snapshot.conflicts).toHaveLength(1);
  });

  test.each(["from the beginning", "later"])(
    "who asks about conflicts in a following tab, %s, is asked",
    async (when) => {
      const { document: ben } = await people.event("ben", { title: "Sync" });
      const origin = new Origin(people);
      const [one, two] = [origin.tab(), origin.tab()];
      if (when === "later") await opened(two, ben.id);
      const second = two.open<Event>("event", ben.id, { onConflict: "ask" });
      await second.ready();
      await goOffline(one, two);
      second.set("/title", "Mine");
      await second.stored();
      ben.set("/title", "Theirs");
      await ben.saved();
      one.connect();
      const { conflicts } = await until(second, (now) => now.conflicts.length > 0);
      expect(conflicts).toMatchObject([{ kind: "refused", mine: "Mine", theirs: "Theirs" }]);
      expect(ben.snapshot.view).toEqual({ title: "Theirs" });
      second.resolve(conflicts[0]?.id ?? "", "mine");
      await until(ben, (now) => now.view?.title === "Mine");
    },
  );

  test("who asks about conflicts in a following tab no more isn't asked", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync", location: "" });
    const origin = new Origin(people);
    const [one, two] = [origin.tab(), origin.tab()];
    await until(one.connection, (now) => now.state === "online");
    const second = two.open<Event>("event", ben.id, { onConflict: "ask" });
    await second.ready();
    second.set("/location", "Room 1");
    await second.saved();
    two.open<Event>("event", ben.id, { onConflict: "merge" });
    await goOffline(one, two);
    second.set("/title", "Mine");
    await second.stored();
    ben.set("/title", "Theirs");
    await ben.saved();
    one.connect();
    const { conflicts } = await until(second, (now) => now.conflicts.length > 0);
    expect(conflicts).toMatchObject([{ kind: "overwrote", mine: "Mine", theirs: "Theirs" }]);
    await until(ben, (now) => now.view?.title === "Mine");
  });

  test.each(["merge", "ask"] as const)(
    "what a following tab wrote offline is in conflict also where another of its edits is refused (%s)",
    async (onConflict) => {
      const START = "2026-11-30T12:00:00Z";
      const value = { title: "Sync", start_time: "2026-11-30T09:00:00Z" };
      const { ben, two, first, second } = await pair(people, { value });
      two.open<Event>("event", ben.id, { onConflict });
      await goOffline(two);
      second.set("/title", "Mine");
      second.set("/end_time", "2026-11-30T10:00:00Z");
      await until(first, (now) => now.pending === 2);
      ben.set("/title", "Theirs");
      ben.set("/start_time", START);
      await ben.saved();
      two.connect();
      const { conflicts } = await until(second, (now) => now.conflicts.length > 0);
      const kind = onConflict === "ask" ? "refused" : "overwrote";
      expect(conflicts).toMatchObject([
        { kind, path: "/title", mine: "Mine", theirs: "Theirs", userId: "ben" },
      ]);
      second.resolve(conflicts[0]?.id ?? "", "theirs");
      await until(first, (now) => now.pending === 0);
      await until(ben, (now) => now.view?.title === "Theirs");
      expect(first.snapshot).toMatchObject({ conflicts: [], view: { title: "Theirs", start_time: START } });
    },
  );

  /** What a following tab that asks wrote over, unseen; `meanwhile` before the leading one hears of it. */
  async function heldBack(
    options: Parameters<typeof pair>[1] = {},
    meanwhile = async (_: SharedDocument<Event>) => {},
  ) {
    const { wire, environment } = holding();
    const made = await pair(people, { ...options, two: { environment } });
    const { ben, two, first, second } = made;
    two.open<Event>("event", ben.id, { onConflict: "ask" });
    await until(first, (now) => now.isLive);
    wire.isHeld = true;
    second.set("/title", "Lunch");
    ben.set("/title", "Dinner");
    await until(first, (now) => now.view?.title === "Dinner");
    await meanwhile(first);
    wire.goOn();
    const { conflicts } = await until(second, (now) => now.conflicts.length > 0);
    return { ...made, question: conflicts[0] as Conflict };
  }

  test.each([
    ["mine", "Lunch"],
    ["theirs", "Dinner"],
    [{ value: "Lunch and dinner" }, "Lunch and dinner"],
  ] as const)(
    "what a following tab that asks wrote over, unseen, is held back until it is answered: %j",
    async (answer, title) => {
      const { ben, first, second, question } = await heldBack();
      expect(question).toMatchObject({ kind: "refused", path: "/title", base: "Sync", userId: "ben" });
      expect(question).toMatchObject({ mine: "Lunch", theirs: "Dinner" });
      second.set("/location", "Room 1"); // waits behind it
      await until(first, (now) => now.view?.location === "Room 1");
      await second.stored();
      expect(first.snapshot).toMatchObject({ pending: 2, view: { title: "Lunch" }, conflicts: [question] });
      expect(ben.snapshot.view).toEqual({ title: "Dinner" });
      second.resolve(question.id, answer);
      await until(ben, (now) => now.view?.location === "Room 1" && now.view.title === title);
      await second.saved();
      expect(first.snapshot).toMatchObject({ pending: 0, view: ben.snapshot.view, conflicts: [] });
    },
  );

  test("what a following tab that asks wrote over, unseen, is held back behind what is on its way", async () => {
    const { wire: server, webSocket } = holdingSockets();
    const { ben, first, second, question } = await heldBack(
      { one: { environment: { webSocket } } },
      async (first) => {
        server.isHeld = true;
        first.set("/location", "Room 1");
      },
    );
    server.goOn();
    await until(first, (now) => now.pending === 1);
    expect(first.snapshot.conflicts).toEqual([question]);
    second.resolve(question.id, "theirs");
    await until(first, (now) => now.pending === 0);
    expect(first.snapshot.view).toEqual({ title: "Dinner", location: "Room 1" });
    await until(ben, (now) => equal(now.view as Json, first.snapshot.view as Json));
  });

  test("what is held back for a following tab is so after that tab takes the lead", async () => {
    const { ben, one, second, question } = await heldBack();
    await second.stored();
    await one.close();
    await until(second, (now) => now.isLive && now.pending === 1);
    expect(second.snapshot).toMatchObject({ view: { title: "Lunch" }, conflicts: [question] });
    second.set("/location", "Room 1");
    ben.set("/description", "Ben's");
    await until(second, (now) => now.view?.description === "Ben's");
    expect(ben.snapshot.view).toEqual({ title: "Dinner", description: "Ben's" });
    second.resolve(question.id, "mine");
    await until(ben, (now) => now.view?.title === "Lunch" && now.view.location === "Room 1");
    await second.saved();
    expect(second.snapshot.conflicts).toEqual([]);
  });

  test("what is held back for a following tab is one question once the document is deleted", async () => {
    const { ben, first, second } = await heldBack();
    await ben.delete();
    await until(first, (now) => now.view === null && now.pending === 0);
    const mine = { title: "Lunch" };
    const { conflicts } = await until(second, (now) => now.conflicts.some(({ path }) => path === ""));
    expect(conflicts).toMatchObject([{ kind: "merged", path: "", mine, theirs: null }]);
    second.resolve(conflicts[0]?.id ?? "", "mine");
    await until(ben, (now) => now.view?.title === "Lunch");
  });

  test("who asked last is asked though a tab that wanted a merge before goes on editing", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync", location: "" });
    const origin = new Origin(people);
    const [one, two] = [origin.tab(), origin.tab()];
    await until(one.connection, (now) => now.state === "online");
    const second = two.open<Event>("event", ben.id, { onConflict: "merge" });
    await second.ready();
    const first = one.open<Event>("event", ben.id, { onConflict: "ask" });
    second.set("/location", "Room 1");
    await second.saved();
    await goOffline(one);
    first.set("/title", "Mine");
    await first.stored();
    ben.set("/title", "Theirs");
    await ben.saved();
    one.connect();
    const { conflicts } = await until(first, (now) => now.conflicts.length > 0);
    expect(conflicts).toMatchObject([{ kind: "refused", mine: "Mine", theirs: "Theirs" }]);
    expect(ben.snapshot.view?.title).toBe("Theirs");
  });

  test("who finds another user's store takes nothing of it, writes nothing to it, and is in no tab's way", async () => {
    const values = new Map<string, Json>();
    const origin = new Origin(people, values);
    const ann = origin.tab();
    const kept = await opened(ann, people.newId());
    kept.create({ title: "Ann's" });
    await kept.saved();
    await ann.close();
    const before = structuredClone(values);
    const ben = people.client("ben", { store: origin.store() });
    const told = new Promise<Problem>((resolve) => ben.onProblem(resolve));
    const [seen, made] = [ben.open<Event>("event", kept.id), ben.open<Event>("event", people.newId())];
    made.create({ title: "Ben's" });
    expect(await told).toMatchObject({ code: "STORE_OTHER_USER" });
    await expect(made.stored()).rejects.toBeInstanceOf(StoreFullError);
    expect([seen.snapshot.view, values]).toEqual([null, before]);
    expect(ben.sync.snapshot.state).toBe("unsaved");
    const again = origin.tab();
    expect((await opened(again, kept.id)).snapshot.view).toEqual({ title: "Ann's" });
    ben.connect();
    await made.saved();
    expect(ben.connection.snapshot.userId).toBe("ben");
  });

  test("who finds another user's tab leading doesn't follow it", async () => {
    const { document: kept } = await people.event("carl", { title: "Carl's" });
    const origin = new Origin(people);
    const ann = origin.tab();
    const first = await opened(ann, kept.id);
    const ben = people.client("ben", { store: origin.store() });
    const problems: Problem[] = [];
    const told = new Promise<Problem>((resolve) => ben.onProblem(resolve));
    ben.onProblem((problem) => problems.push(problem));
    expect(await told).toMatchObject({ code: "STORE_OTHER_USER" });
    expect(ben.clientId).not.toBe(ann.clientId);
    ben.connect();
    const second = await opened(ben, kept.id);
    second.set("/title", "Ben's");
    await second.saved();
    await until(first, (now) => now.view?.title === "Ben's");
    await until(first.presence, (now) => now.others.some(({ user_id }) => user_id === "ben"));
    expect(problems).toHaveLength(1);
  });

  test("who learns that the tab that it follows is another user's shows nothing as live any more", async () => {
    const { ben, origin, one, two, first, second } = await pair(people);
    const channel = new BroadcastChannel(origin.name);
    const leading = new Promise<{ meta: object }>((resolve) => {
      channel.onmessage = (event) => {
        const note = (event as MessageEvent).data;
        if (note.kind === "leading" && note.connection.isPaused) resolve(note);
      };
    });
    one.disconnect();
    first.set("/title", "Another's");
    await until(second, (now) => now.pending === 1);
    const note = await leading;
    const told = new Promise<Problem>((resolve) => two.onProblem(resolve));
    channel.postMessage({ ...note, meta: { ...note.meta, userId: "carl" } });
    expect(await told).toMatchObject({ code: "STORE_OTHER_USER" });
    await until(second, (now) => !now.isLive && now.pending === 0);
    second.set("/location", "Room 1");
    two.connect();
    await second.saved();
    await until(ben, (now) => now.view?.location === "Room 1");
    channel.close();
  });

  test("a tab that takes the lead doesn't follow the one before it while it reads", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const { document: other } = await people.event("ben", { title: "Lunch" });
    const { isReading, goOn, slow } = gated(`doc/event:${other.id}`);
    const origin = new Origin(people);
    const one = origin.tab();
    await opened(one, ben.id);
    const { heardOf, tell, environment } = retold();
    const two = origin.tab({ store: slow(origin.store()), environment });
    const second = await opened(two, ben.id);
    await opened(two, other.id);
    await one.close();
    await isReading;
    const { standing, ...note } = heardOf("standing", `event:${ben.id}`) as { standing: object };
    tell(heardOf("leading"));
    tell({ ...note, standing: { ...standing, pending: 1 } } as Json);
    goOn();
    second.set("/title", "Led");
    await second.saved();
    expect(two.sync.snapshot).toMatchObject({ pending: 0, state: "saved" });
  });

  test("a tab that reads for long before it leads isn't replaced by one that is seen", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const { isReading, goOn, slow } = gated(`doc/event:${ben.id}`);
    const origin = new Origin(people);
    const one = origin.tab();
    await opened(one, ben.id);
    const two = origin.tab({ store: slow(origin.store()) });
    await opened(two, ben.id);
    const foreground = new FakeSignal();
    const { heardOf, environment } = retold();
    const steal = vi.fn(locksOf().steal);
    const locks = { ...locksOf(), steal };
    const three = origin.tab({ environment: { ...environment, foreground, locks } });
    const third = await opened(three, ben.id);
    await one.close();
    await isReading;
    foreground.tell(); // and it asks whether anybody leads
    await vi.waitFor(() => expect(heardOf("reading")).toBeDefined(), 100_000);
    goOn();
    third.set("/title", "Led");
    await third.saved();
    expect(steal).not.toHaveBeenCalled();
  });

  test("what a tab that led before tells late is nothing to those that follow another", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const { name } = origin;
    const [one, two] = [origin.tab(), origin.tab()];
    const first = await opened(one, ben.id);
    const channel = new BroadcastChannel(name);
    const following = new Promise<string>((resolve) => {
      channel.onmessage = (event) => {
        const note = (event as MessageEvent).data;
        if (note.kind === "say") resolve(note.tab);
      };
    });
    const second = await opened(two, ben.id);
    const operations = [{ op: "replace", path: "/title", value: "Stale" }];
    const payload = { resource_type: "event", resource_id: ben.id, version: 2, operations, client_id: null };
    const message = { type: "OP_BROADCAST", id: "", timestamp: 0, payload };
    channel.postMessage({ kind: "tell", leader: "another", tab: await following, message });
    first.set("/location", "Room 1");
    await until(second, (now) => now.view?.location === "Room 1");
    expect(second.snapshot.view?.title).toBe("Sync");
    channel.close();
  });

  test("a cursor stands in a following tab where it does in the leading one, also after a change", async () => {
    const { ben, first, second } = await pair(people, { value: { description: "hello" } });
    const positions = () =>
      [first, second].map(({ presence }) => presence.snapshot.others[0]?.cursor.position);
    ben.presence.setCursor({ field: "description", position: 2 });
    await until(second.presence, (now) => now.others[0]?.cursor.position === 2);
    ben.edit({ op: "text", path: "/description", value: [2, "x"] });
    await until(second, (now) => now.view?.description === "hexllo");
    expect(positions()).toEqual([3, 3]);
    second.edit({ op: "text", path: "/description", value: ["> "] });
    await second.saved();
    expect(positions()).toEqual([5, 5]);
    first.edit({ op: "text", path: "/description", value: ["> "] });
    await until(second, (now) => now.view?.description === "> > hexllo");
    first.set("/title", "Sync");
    await until(second, (now) => now.view?.title === "Sync");
    expect(positions()).toEqual([7, 7]);
  });

  test("who moves on in a following tab, while what was typed there has no answer, is seen there", async () => {
    const { document: ben } = await people.event("ben", { description: "hello" });
    const { isWriting, goOn, slow } = gatedWrites(`doc/event:${ben.id}`, "x");
    const origin = new Origin(people);
    const [one, two] = [origin.tab({ store: slow(origin.store()) }), origin.tab()];
    await opened(one, ben.id);
    const second = await opened(two, ben.id);
    const position = () => ben.presence.snapshot.others[0]?.cursor.position;
    second.presence.setCursor({ field: "description", position: 1 });
    await until(ben.presence, () => position() === 1);
    second.edit({ op: "text", path: "/description", value: [1, "x"] });
    await isWriting;
    const told = heard(origin.name, "PRESENCE_UPDATE", 1);
    second.presence.setCursor({ field: "description", position: 4 });
    await told;
    goOn();
    await second.saved();
    await until(ben.presence, () => position() === 4);
  });

  test("who types on in a following tab is shown typing without a break", async () => {
    const { document: ben } = await people.event("ben", { description: "" });
    const origin = new Origin(people);
    const [one, two] = [origin.tab(), origin.tab()];
    await opened(one, ben.id);
    const second = await opened(two, ben.id);
    const seen: boolean[] = [];
    ben.presence.subscribe(() => {
      const [ann] = ben.presence.snapshot.others;
      if (ann && ann.is_typing !== seen.at(-1)) seen.push(ann.is_typing);
    });
    for (let key = 0; key < 30; key++) {
      second.edit({ op: "text", path: "/description", value: ["x"] });
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    await second.saved();
    expect(seen.slice(seen.indexOf(true))).toEqual([true]);
  });

  test("a tab types while the other does, and the texts are equal", async () => {
    const { document: ben } = await people.event("ben", { description: "" });
    const origin = new Origin(people);
    const [one, two] = [origin.tab(), origin.tab()];
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

  test.each(["leading", "following"])(
    "invisible by the %s tab is so after another takes the lead",
    async (asked) => {
      const { ben, one, two, second } = await pair(people);
      await until(ben.presence, (now) => now.others.length === 1);
      (asked === "leading" ? one : two).setVisible(false);
      await until(ben.presence, (now) => now.others.length === 0);
      await one.close();
      await until(two.connection, (now) => now.state === "online");
      second.set("/title", "Unseen");
      await second.saved();
      const { document: carl } = await people.join("carl", ben.id);
      const { others } = await until(carl.presence, (now) => now.others.length > 0);
      expect(others.map(({ user_id }) => user_id)).toEqual(["ben"]);
      two.setVisible(true);
      await until(ben.presence, (now) => now.others.some(({ user_id }) => user_id === "ann"));
    },
  );

  test("who asks to be invisible from the beginning, or while nobody leads, is so", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const { isReading, goOn, slow } = gated(`doc/event:${ben.id}`);
    const origin = new Origin(people);
    const one = origin.tab();
    await opened(one, ben.id);
    const two = origin.tab({ store: slow(origin.store()) });
    const second = await opened(two, ben.id);
    await until(ben.presence, (now) => now.others.length === 1);
    const three = origin.tab({ visible: false });
    await until(ben.presence, (now) => now.others.length === 0);
    three.setVisible(true);
    await until(ben.presence, (now) => now.others.length === 1);
    await one.close();
    await isReading;
    three.setVisible(false);
    goOn();
    await until(second, (now) => now.isLive);
    await until(ben.presence, (now) => now.others.length === 0);
    second.set("/title", "Unseen");
    await second.saved();
    const { document: carl } = await people.join("carl", ben.id);
    const { others } = await until(carl.presence, (now) => now.others.length > 0);
    expect(others.map(({ user_id }) => user_id)).toEqual(["ben"]);
  });

  test("every tab tells whether the user is seen, whichever was asked, and whichever leads", async () => {
    const origin = new Origin(people);
    const [one, two] = [origin.tab(), origin.tab()];
    for (const tab of [one, two]) await until(tab.connection, (now) => now.state === "online");
    expect(one.connection.snapshot.isVisible).toBe(true);
    const three = origin.tab({ visible: false });
    expect(three.connection.snapshot.isVisible).toBe(false);
    for (const tab of [one, two]) await until(tab.connection, (now) => !now.isVisible);
    two.setVisible(true);
    expect(two.connection.snapshot.isVisible).toBe(true);
    for (const tab of [one, three]) await until(tab.connection, (now) => now.isVisible);
    one.setVisible(false);
    for (const tab of [two, three]) await until(tab.connection, (now) => !now.isVisible);
    await one.close();
    await until(two.connection, (now) => now.state === "online");
    for (const tab of [two, three]) expect(tab.connection.snapshot.isVisible).toBe(false);
  });

  test("who works offline does so after another tab takes the lead, until a tab asks to connect", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const [one, two, three] = [origin.tab(), origin.tab(), origin.tab()];
    await opened(one, ben.id);
    const [second, third] = [await opened(two, ben.id), await opened(three, ben.id)];
    one.disconnect();
    for (const tab of [two, three]) await until(tab.connection, (now) => now.isPaused);
    await one.close();
    third.set("/title", "Held");
    await until(second, (now) => now.view?.title === "Held" && now.pending > 0);
    for (const tab of [two, three]) expect(tab.connection.snapshot.isPaused).toBe(true);
    three.connect();
    await third.saved();
    await until(ben, (now) => now.view?.title === "Held");
  });

  test("who asked a tab to connect is connected after another takes the lead", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const client = () => origin.tab({ connect: false });
    const [one, two] = [client(), client()];
    for (const tab of [one, two]) await until(tab.connection, (now) => now.isPaused);
    two.connect();
    const second = await opened(two, ben.id);
    await one.close();
    second.set("/title", "From the second tab");
    await second.saved();
    await until(ben, (now) => now.view?.title === "From the second tab");
  });

  test("who leaves a document in a following tab, or closes that, isn't there any more", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const { document: left } = await people.event("ben", { title: "Left" });
    const { document: alone } = await people.event("ben", { title: "Alone" });
    const origin = new Origin(people);
    const tab = new MortalTab();
    const one = origin.tab();
    const two = origin.tab({ environment: tab.environment });
    await opened(one, ben.id);
    const [second, third] = [await opened(two, ben.id), await opened(two, left.id)];
    await opened(two, alone.id);
    const cursorOf = ({ presence }: typeof ben) => presence.snapshot.others[0]?.cursor.field;
    second.presence.setCursor({ field: "title", position: 1 });
    await until(ben.presence, () => cursorOf(ben) === "title");
    await until(left.presence, (now) => now.others.length === 1);
    await until(alone.presence, (now) => now.others.length === 1);
    third.close();
    await until(left.presence, (now) => now.others.length === 0);
    tab.end();
    await until(alone.presence, (now) => now.others.length === 0);
    await until(ben.presence, () => cursorOf(ben) === "");
  });

  test("a tab that waits for a document gets it though another doesn't wait any more", async () => {
    const { document: ben } = await people.event("ben", { title: "Sync" });
    const origin = new Origin(people);
    const [one, two, three] = [origin.tab(), origin.tab(), origin.tab()];
    one.disconnect(); // so that the leading tab has no answer yet
    for (const tab of [one, two, three]) await until(tab.connection, (now) => now.isPaused);
    const said = heard(origin.name, "SUBSCRIBE", 2);
    const [waiting, impatient] = [two.open<Event>("event", ben.id), three.open("event", ben.id)];
    await said;
    const left = heard(origin.name, "UNSUBSCRIBE", 1);
    impatient.close();
    await left;
    one.connect();
    await waiting.ready();
    ben.set("/title", "Later");
    await until(waiting, (now) => now.view?.title === "Later");
    expect(ben.presence.snapshot.others).toHaveLength(1);
    waiting.close();
    await until(ben.presence, (now) => now.others.length === 0);
  });

  test("a calendar stays up to date in a following tab, and after another takes the lead", async () => {
    const calendar_id = `calendar-${process.pid}`;
    const { document: ben } = await people.event("ben", { title: "Sync", calendar_id });
    const origin = new Origin(people);
    const [one, two, three] = [origin.tab(), origin.tab(), origin.tab()];
    for (const tab of [two, three]) await until(tab.connection, (now) => now.state === "online");
    const calendars = [two, three].map((tab) => tab.calendar(calendar_id));
    const shows = (title: string) => (now: CalendarSnapshot) => now.isLive && now.items[0]?.title === title;
    for (const calendar of calendars) await until(calendar, shows("Sync"));
    ben.set("/title", "Lunch");
    for (const calendar of calendars) await until(calendar, shows("Lunch"));
    one.disconnect();
    for (const calendar of calendars) await until(calendar, (now) => !now.isLive);
    one.connect();
    for (const calendar of calendars) await until(calendar, shows("Lunch"));
    await one.close();
    ben.set("/title", "Dinner");
    for (const calendar of calendars) await until(calendar, shows("Dinner"));
    ben.set("/calendar_id", "another");
    for (const calendar of calendars) await until(calendar, (now) => now.items.length === 0);
  });
});
