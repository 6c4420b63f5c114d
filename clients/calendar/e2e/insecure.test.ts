/** The calendar over plain HTTP from another host: no secure context, so no Web Locks and no `crypto.randomUUID`. */

import { networkInterfaces } from "node:os";
import { expect, test } from "vitest";
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
