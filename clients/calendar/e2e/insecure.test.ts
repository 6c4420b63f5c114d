/** The calendar over plain HTTP from another host: no secure context, so no Web Locks and no `crypto.randomUUID`. */

import { networkInterfaces } from "node:os";
import { expect, test } from "vitest";
import { Edits } from "./held.js";
import { Stage } from "./stage.js";

/** This machine's, as others reach it; undefined where it has no network. */
const host = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;

const stage = new Stage(host ? { "server.host": host, "server.demo": "on" } : {});

test.runIf(host)("one makes an event, and edits it in two tabs at once", async () => {
  const ann = await stage.arrive("Ann");
  expect(await ann.page.evaluate(() => isSecureContext)).toBe(false);
  const event = await ann.newEvent("Lunch");
  const again = await ann.anotherTab(event);
  stage.everybody.push(again);
  await again.sees("Title", "Lunch");
  await again.textbox("Location").fill("Room 7");
  await ann.sees("Location", "Room 7");
  await ann.textbox("Location").fill("Room 8");
  await again.sees("Location", "Room 8");
  for (const tab of [ann, again]) await tab.says("online, saved");
});

test.runIf(host)("an event made offline stays in its own month while another tab is online", async () => {
  const ann = await stage.arrive("Ann");
  const again = await ann.anotherTab(stage.address);
  stage.everybody.push(again);
  await again.says("online");
  await ann.workOffline(true);
  await ann.button("New event").click();
  await ann.textbox("Title").fill("Walk");
  await ann.says("offline, 2 edits kept here");
  await ann.page.getByRole("link", { name: "Calendar", exact: true }).click();
  const walk = ann.page.getByRole("link", { name: /Walk/ });
  await walk.waitFor();
  await again.newEvent("Lunch"); // by then the other tab has been told what isn't there
  expect(await walk.count()).toBe(1);
  await ann.workOffline(false);
  await again.page.getByRole("link", { name: "Calendar", exact: true }).click();
  await again.page.getByRole("link", { name: /Walk/ }).waitFor();
});

test.runIf(host)("who leaves while edits are being saved that end with the tab is asked before", async () => {
  const edits = new Edits();
  const ann = await stage.arrive("Ann", stage.address, edits.prepare);
  await ann.newEvent("Lunch");
  edits.areHeld = true;
  await ann.textbox("Location").fill("Room 7");
  await ann.says("online, saving");
  const asked = ann.answers("accept");
  await ann.button("Sign out").click();
  await ann.textbox("Your name").waitFor();
  expect(asked).toEqual(["1 edit isn’t sent yet. It is lost when you leave. Sign out?"]);
});

test.runIf(host)("who leaves with edits that end with the tab is asked before", async () => {
  const ann = await stage.arrive("Ann");
  const event = await ann.newEvent("Lunch");
  await ann.workOffline(true);
  await ann.textbox("Location").fill("Room 7");
  await ann.says("offline, 1 edit kept here");
  const asked = ann.answers("dismiss");
  await ann.button("Sign out").click();
  expect(asked.splice(0)).toEqual(["1 edit isn’t sent yet. It is lost when you leave. Sign out?"]);
  await ann.page.close({ runBeforeUnload: true });
  await expect.poll(() => asked.length, { timeout: 100_000 }).toBe(1);
  await ann.workOffline(false);
  await ann.says("online, saved");
  expect(ann.page.url()).toBe(event);
  await ann.button("Sign out").click();
  await ann.textbox("Your name").waitFor();
  expect(asked).toHaveLength(1);
});
