/** The month without a connection. */

import { createServer } from "node:http";
import type { BrowserContext } from "playwright-core";
import { expect, test } from "vitest";
import { Edits } from "./held.js";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();

/** The gateway's page can be had from now on, and nothing else of it. */
async function cut({ page }: Person): Promise<void> {
  await page.routeWebSocket("**/realtime*", (socket) => socket.close());
  await page.route("**/v1/**", (route) => route.abort());
}

async function mend({ page }: Person): Promise<void> {
  await page.unrouteAll();
  await page.routeWebSocket("**/realtime*", (socket) => void socket.connectToServer());
}

const event = ({ page }: Person, title: string) => page.getByRole("link", { name: new RegExp(title) });
const note = ({ page }: Person) => page.getByText("As it was before the connection was lost.");
const toMonth = ({ page }: Person) => page.getByRole("link", { name: "Calendar", exact: true }).click();

test("after a reload without a connection the month is shown as it was, and says so", async () => {
  const ann = await stage.arrive("Ann");
  await ann.newEvent("Lunch of the team");
  await toMonth(ann);
  await event(ann, "Lunch of the team").waitFor();
  await cut(ann);
  await ann.page.reload();
  await event(ann, "Lunch of the team").waitFor();
  await note(ann).waitFor();
  await ann.page.locator(".month[aria-busy=false]").waitFor();
});

test("so it is, and one edits, while the network neither answers nor refuses", async () => {
  const ann = await stage.arrive("Ann");
  await ann.newEvent("Lunch of the team");
  await toMonth(ann);
  await event(ann, "Lunch of the team").waitFor();
  await ann.page.routeWebSocket("**/realtime*", () => {});
  await ann.page.route(/\/(demo|v1)\//, () => {});
  await ann.page.reload();
  await event(ann, "Lunch of the team").click();
  await ann.textbox("Location").fill("Room 7");
  await ann.page.getByRole("status", { name: "Sync" }).filter({ hasText: "1 edit kept here" }).waitFor();
});

test("a month whose events are long in coming isn't taken for an empty one", async () => {
  let hold: (tell: () => void) => void;
  const held = new Promise<() => void>((resolve) => {
    hold = resolve;
  });
  const prepare = (context: BrowserContext) =>
    context.routeWebSocket("**/realtime*", (socket) => {
      const server = socket.connectToServer();
      server.onMessage((message) => {
        if (JSON.parse(String(message)).type !== "CHILDREN") socket.send(message);
        else hold(() => socket.send(message));
      });
    });
  await stage.make("lunch", { title: "Lunch", start_time: new Date().toISOString(), calendar_id: "demo" });
  const ann = await stage.arrive("Ann", stage.address, prepare);
  await ann.says("online");
  const opening = ann.page.getByText("Opening the events…");
  await opening.waitFor();
  (await held)();
  await event(ann, "Lunch").waitFor();
  expect(await opening.count()).toBe(0);
});

test("an event that was never opened here says when it will be there", async () => {
  const ann = await stage.arrive("Ann");
  await cut(ann);
  await ann.page.goto("about:blank");
  await ann.page.goto(`${stage.address}/#/event/elsewhere`);
  await ann.page.getByText("It is shown as soon as there is a connection.").waitFor();
});

test("an event made offline is in the month, after a reload too, and once when everybody knows of it", async () => {
  const [ann, bob] = [await stage.arrive("Ann"), await stage.arrive("Bob")];
  await cut(ann);
  await ann.page.reload();
  await ann.says("offline");
  await ann.button("New event").click();
  await ann.textbox("Title").fill("Walk");
  await ann.says("offline, 2 edits kept here");
  await toMonth(ann);
  await event(ann, "Walk").waitFor();
  await ann.page.reload();
  await event(ann, "Walk").waitFor();
  await mend(ann);
  await ann.page.reload();
  await event(bob, "Walk").waitFor();
  await ann.says("online, saved");
  await expect.poll(() => event(ann, "Walk").count(), { timeout: 100_000 }).toBe(1);
  await bob.page.getByRole("link", { name: /Walk/ }).click();
  await bob.textbox("Title").fill("Run");
  await event(ann, "Run").waitFor();
  expect(await event(ann, "Walk").count()).toBe(0);
});

test("the calendar opens while the gateway is down, in a tab of its own too, and what is written then arrives", async () => {
  const ann = await stage.arrive("Ann", stage.address, undefined, { serviceWorkers: "allow" });
  await ann.newEvent("Lunch of the team");
  await toMonth(ann);
  await event(ann, "Lunch of the team").waitFor();
  await ann.page.evaluate(() => navigator.serviceWorker.ready.then(() => true));
  await stage.gateway.kill();
  await ann.page.reload();
  await event(ann, "Lunch of the team").waitFor();
  await note(ann).waitFor();
  await ann.page.close();
  const again = await ann.anotherTab(stage.address);
  await again.button("New event").click();
  await again.textbox("Title").fill("Walk");
  await again.says("offline, 2 edits kept here");
  await stage.gateway.run();
  await again.says("online, saved");
  const bob = await stage.arrive("Bob");
  await event(bob, "Walk").waitFor();
});

test("so it does while a proxy says that the gateway is down, and who is new is told so", async () => {
  const ann = await stage.arrive("Ann", stage.address, undefined, { serviceWorkers: "allow" });
  await ann.newEvent("Lunch of the team");
  await toMonth(ann);
  await event(ann, "Lunch of the team").waitFor();
  await ann.page.evaluate(() => navigator.serviceWorker.ready.then(() => true));
  await stage.gateway.kill();
  const proxy = createServer((_, response) => response.writeHead(503).end("No server is available."));
  await new Promise<void>((resolve) =>
    proxy.listen(Number(new URL(stage.address).port), "127.0.0.1", resolve),
  );
  try {
    await ann.page.reload();
    await event(ann, "Lunch of the team").waitFor();
    await note(ann).waitFor();
    await ann.button("Sign out").click();
    await ann.textbox("Your name").fill("Bob");
    await ann.button("Sign in").click();
    await ann.page.getByRole("alert").filter({ hasText: "The gateway answered 503." }).waitFor();
    await ann.textbox("Your name").fill("Ann");
    await ann.button("Sign in").click();
    await event(ann, "Lunch of the team").waitFor();
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
});

test("an event made offline in one tab is in the month of the other", async () => {
  const ann = await stage.arrive("Ann");
  const again = await ann.anotherTab(stage.address);
  stage.everybody.push(again);
  await again.button("New event").waitFor();
  await ann.workOffline(true);
  for (const tab of [ann, again]) await tab.says("offline");
  await ann.button("New event").click();
  await ann.textbox("Title").fill("Walk");
  await event(again, "Walk").waitFor();
});

test("what one changes offline is in the month, of other tabs and after a reload too, and what one deletes isn't", async () => {
  const start_time = new Date().toISOString();
  for (const title of ["Lunch", "Talk"])
    await stage.make(title, { title, start_time, end_time: start_time, calendar_id: "demo" });
  const ann = await stage.arrive("Ann");
  const again = await ann.anotherTab(stage.address);
  stage.everybody.push(again);
  await event(again, "Lunch").waitFor();
  await event(ann, "Lunch").click();
  await ann.sees("Title", "Lunch");
  await toMonth(ann);
  await event(ann, "Talk").click();
  await ann.sees("Title", "Talk");
  await ann.workOffline(true);
  await ann.says("offline");
  ann.answers("accept");
  await ann.button("Delete").click();
  await ann.says("offline, 1 edit kept here");
  await toMonth(ann);
  await event(ann, "Lunch").click();
  await ann.textbox("Title").fill("Brunch");
  await event(again, "Brunch").waitFor();
  await toMonth(ann);
  await event(ann, "Brunch").waitFor();
  await ann.page.reload();
  await event(ann, "Brunch").waitFor();
  for (const tab of [ann, again])
    for (const title of ["Lunch", "Talk"]) await event(tab, title).waitFor({ state: "detached" });
  const bob = await stage.arrive("Bob");
  await event(bob, "Lunch").waitFor();
  await ann.workOffline(false);
  await event(bob, "Brunch").waitFor();
  await event(bob, "Talk").waitFor({ state: "detached" });
  await ann.says("online, saved");
  await event(bob, "Brunch").click();
  await bob.textbox("Title").fill("Dinner");
  for (const tab of [ann, again]) await event(tab, "Dinner").waitFor();
});

test("who leaves an event while its edits are on their way finds them in the month", async () => {
  const edits = new Edits();
  const ann = await stage.arrive("Ann", stage.address, edits.prepare);
  await ann.newEvent("Lunch");
  edits.areHeld = true;
  await ann.textbox("Title").fill("Brunch");
  await toMonth(ann);
  await event(ann, "Brunch").waitFor();
});

test("who signs out offline is told what becomes of the edits, and they are sent when one is back", async () => {
  const [ann, bob, event] = await stage.together("Lunch");
  await ann.workOffline(true);
  await ann.textbox("Location").fill("Room 7");
  await ann.says("offline, 1 edit kept here");
  const asked = ann.answers("accept");
  await ann.button("Sign out").click();
  await ann.textbox("Your name").waitFor();
  const kept = "It is kept in this browser, and sent when you sign in here again.";
  expect(asked.splice(0)).toEqual([`1 edit isn’t sent yet. ${kept} Sign out?`]);
  await ann.textbox("Your name").fill("Cleo");
  await ann.button("Sign in").click();
  await ann.says("online, saved");
  expect(await ann.textbox("Location").inputValue()).toBe(""); // that is Ann's to send
  await ann.button("Sign out").click();
  await ann.textbox("Your name").fill("Ann");
  await ann.button("Sign in").click();
  await bob.sees("Location", "Room 7");
  expect(ann.page.url()).toBe(event);
  expect(asked).toEqual([]);
});

test("who signs out while edits are being saved is asked before where the browser has no room for them", async () => {
  const edits = new Edits();
  const ann = await stage.arrive("Ann", stage.address, edits.prepare);
  const asked = ann.answers("dismiss");
  await ann.newEvent("Lunch");
  edits.areHeld = true;
  await ann.page.evaluate(() => {
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("no room", "QuotaExceededError");
    };
  });
  await ann.textbox("Location").fill("Room 7");
  await ann.page.getByText("Make room on the device.").waitFor();
  await ann.says("online, saving");
  await ann.button("Sign out").click();
  expect(asked).toEqual(["1 edit isn’t sent yet. It is lost when you leave. Sign out?"]);
});
