/** What becomes of an event that was made, and in which nobody wrote. */

import type { BrowserContext } from "playwright-core";
import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();

const untitled = ({ page }: Person) => page.getByRole("link", { name: /Untitled/ });

/** Makes an event and writes nothing; gives its address. */
async function makeOne(person: Person): Promise<string> {
  await person.button("New event").click();
  await person.sees("Title", "");
  return person.page.url();
}

/** All that the other tab has told by what it keeps has come. */
async function hears(one: Person, other: Person): Promise<void> {
  const come = await one.page.evaluateHandle(() => ({
    last: new Promise((resolve) => {
      addEventListener("storage", ({ key }) => key === "last" && resolve(key));
    }),
  }));
  await other.page.evaluate(() => localStorage.setItem("last", crypto.randomUUID())); // the same again wouldn't be heard
  await come.evaluate(({ last }) => last);
}

async function goBack(person: Person): Promise<void> {
  await person.page.goBack();
  await person.button("New event").waitFor();
}

const idOf = (event: string): string => event.slice(event.lastIndexOf("/") + 1);

/** What is written by another program in an event that was just made. */
const write = (event: string) =>
  stage.edit(idOf(event), 1, [{ op: "replace", path: "/title", value: "Lunch" }]);

/** Whoever comes so has an event taken away only when somebody else has written in it. */
const late = (context: BrowserContext) =>
  context.routeWebSocket("**/realtime*", (socket) => {
    const server = socket.connectToServer();
    let sent = Promise.resolve();
    socket.onMessage((message) => {
      const { type, payload } = JSON.parse(String(message));
      const isTaking = type === "OP" && payload.operations.some(({ op }: { op: string }) => op === "test");
      sent = sent.then(async () => {
        if (isTaking) await write(payload.resource_id);
        server.send(message);
      });
    });
  });

/** Sees the event with that word, is told nothing, and opens it. */
async function findsLunch(person: Person): Promise<void> {
  await person.page.getByRole("link", { name: /Lunch/ }).click();
  await person.sees("Title", "Lunch");
  await person.says("online, saved");
  expect(await person.page.getByRole("alert").filter({ hasText: /./ }).count()).toBe(0);
  expect(await person.conflict.count()).toBe(0);
}

/** The event at an address, to somebody who comes later, is none (any more). */
async function isNone(event: string): Promise<void> {
  const later = await stage.arrive("Cleo", event);
  await later.page.getByRole("heading", { name: "There is no such event" }).waitFor();
}

test("an event that is left without a word isn't there any more", async () => {
  const ann = await stage.arrive("Ann");
  const event = await makeOne(ann);
  await ann.people.filter({ hasText: "Ann (you)" }).waitFor();
  await ann.says("saved");
  await goBack(ann);
  await expect.poll(() => untitled(ann).count(), { timeout: 100_000 }).toBe(0);
  await isNone(event);
});

test("nor is one that is left after the page was loaded anew", async () => {
  const ann = await stage.arrive("Ann");
  const event = await makeOne(ann);
  await ann.says("online, saved");
  await ann.page.reload();
  await ann.people.filter({ hasText: "Ann (you)" }).waitFor();
  await ann.page.getByRole("link", { name: "Calendar", exact: true }).click();
  await isNone(event);
});

test("one that was made offline and left so isn't either, also once there is a connection", async () => {
  const ann = await stage.arrive("Ann");
  await ann.workOffline(true);
  await ann.says("offline");
  const event = await makeOne(ann);
  await goBack(ann);
  expect(await untitled(ann).count()).toBe(0);
  await ann.workOffline(false);
  await ann.says("online, saved");
  await isNone(event);
});

test("one in which one wrote offline, which goes with its first version, stays", async () => {
  const ann = await stage.arrive("Ann");
  await ann.workOffline(true);
  await ann.says("offline");
  await makeOne(ann);
  await ann.textbox("Title").fill("Lunch");
  await ann.workOffline(false);
  await ann.people.filter({ hasText: "Ann (you)" }).waitFor();
  await ann.says("online, saved");
  await goBack(ann);
  await ann.page.getByRole("link", { name: /Lunch/ }).waitFor();
});

test("one that was moved stays, though it has no title", async () => {
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2021-02`);
  await makeOne(ann);
  await ann.textbox("Start").fill("2021-02-17T10:00");
  await ann.says("saved");
  await goBack(ann);
  await untitled(ann).click();
  await ann.sees("Start", "2021-02-17T10:00");
});

test("one at which somebody else is stays", async () => {
  const ann = await stage.arrive("Ann");
  const event = await makeOne(ann);
  const bob = await stage.arrive("Bob", event);
  await ann.people.filter({ hasText: "Bob" }).waitFor();
  await goBack(ann);
  await untitled(ann).waitFor();
  await bob.textbox("Title").fill("Lunch");
  await ann.page.getByRole("link", { name: /Lunch/ }).waitFor();
});

test("one that another tab shows stays, after a reload too", async () => {
  const ann = await stage.arrive("Ann");
  const event = await makeOne(ann);
  const isThere = (tab: Person) => tab.people.filter({ hasText: "Ann (you)" }).waitFor();
  await isThere(ann);
  await ann.says("online, saved");
  const again = await ann.anotherTab(event);
  await isThere(again);
  await hears(ann, again);
  await ann.page.reload();
  await isThere(ann);
  await ann.says("online, saved");
  await hears(again, ann); // and has answered
  await hears(ann, again);
  await goBack(ann);
  await again.textbox("Title").fill("Lunch");
  await ann.page.getByRole("link", { name: /Lunch/ }).waitFor();
});

test("one of which it isn't known who is at it stays", async () => {
  const ann = await stage.arrive("Ann");
  const event = await makeOne(ann);
  await ann.says("saved");
  await ann.workOffline(true);
  await ann.says("offline");
  await goBack(ann);
  await untitled(ann).waitFor();
  await ann.workOffline(false);
  await ann.says("online, saved");
  const bob = await stage.arrive("Bob", event);
  await bob.sees("Title", "");
});

test("one that is left while its first word is being composed has that word, and stays", async () => {
  const ann = await stage.arrive("Ann");
  await makeOne(ann);
  await ann.says("saved");
  await ann.textbox("Title").focus();
  const session = await ann.context.newCDPSession(ann.page);
  await session.send("Input.imeSetComposition", { text: "Lunch", selectionStart: 5, selectionEnd: 5 });
  await goBack(ann);
  await ann.page.getByRole("link", { name: /Lunch/ }).waitFor();
});

test("one that somebody wrote in a moment before stays, with what was written", async () => {
  const ann = await stage.arrive("Ann", undefined, late);
  await makeOne(ann);
  await ann.people.filter({ hasText: "Ann (you)" }).waitFor();
  await ann.says("saved");
  await goBack(ann);
  await findsLunch(ann);
});

test("so does one that somebody wrote in while the network was away, which nobody had noticed", async () => {
  const network = await stage.network();
  const ann = await stage.arrive("Ann");
  const event = await makeOne(ann);
  await ann.people.filter({ hasText: "Ann (you)" }).waitFor();
  await ann.says("saved");
  network.cutNetwork();
  await write(event);
  await goBack(ann);
  network.heal();
  await findsLunch(ann);
});

test("one in which something was written and taken back stays", async () => {
  const ann = await stage.arrive("Ann");
  const event = await makeOne(ann);
  await ann.says("saved");
  const isAt = (version: number) =>
    expect.poll(() => stage.versionOf(idOf(event)), { timeout: 100_000 }).toBe(version);
  await ann.textbox("Title").fill("Lunch");
  await isAt(2); // what is taken back before it was sent is as if it had never been written
  await ann.button("Undo").click();
  await isAt(3);
  await ann.says("online, saved");
  await goBack(ann);
  await untitled(ann).waitFor();
  const bob = await stage.arrive("Bob", event);
  await bob.sees("Title", "");
});

test("one that is signed out of stays", async () => {
  const ann = await stage.arrive("Ann");
  const event = await makeOne(ann);
  await ann.people.filter({ hasText: "Ann (you)" }).waitFor();
  await ann.says("saved");
  await ann.button("Sign out").click();
  const bob = await stage.arrive("Bob", event);
  await bob.sees("Title", "");
});
