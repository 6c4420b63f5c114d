/** `npm run pictures [-- --into FOLDER]`: the pictures of the calendar in `docs/images`, from a real gateway and Chromium. */

import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Browser } from "playwright-core";
import { Gateway } from "../../client/test/support/gateway.js";
import { openBrowser, Person } from "./people.js";

const { values } = parseArgs({ options: { into: { type: "string" } } });
const FOLDER = values.into ?? join(process.env.GATEWAY_ROOT ?? "..", "docs/images");
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
const DARK = { colorScheme: "dark" } as const;
const NOTES = "Agenda\n1. Numbers of last week\n2. What comes next\n3. ";

/** What stands in the month beside the event that is shown: a title, the day, and the hours it starts and ends. */
const OTHERS: readonly (readonly [title: string, day: number, hour: number, end?: number])[] = [
  ["Dentist", 3, 9],
  ["Sprint review", 5, 14],
  ["Lunch with Kim", 5, 12],
  ["Release", 12, 10],
  ["Team breakfast", 17, 9],
  ["Retrospective", 19, 15],
  ["School play", 20, 18],
  ["Board meeting", 24, 11],
  ["Conference", 25, 9, 64],
];
const HOUR_MS = 3_600_000;

const gateway = await Gateway.start({});
const address = gateway.url.replace("ws:", "http:").replace("/realtime", "");
const month = new Date().toISOString().slice(0, 7);
const at = (day: number, hour: number) =>
  new Date(Date.parse(`${month}-01T00:00Z`) + ((day - 1) * 24 + hour) * HOUR_MS).toISOString();

/** Makes an event as another program does. */
async function make(id: string, title: string, day: number, hour: number, end = hour + 1): Promise<void> {
  const times = { start_time: at(day, hour), end_time: at(day, end) };
  const value = { title, ...times, attendees: [], calendar_id: "demo" };
  const answer = await fetch(`${address}/v1/resources/event/${id}`, {
    method: "PUT",
    headers: { authorization: `Bearer ${gateway.token("program")}`, "content-type": "application/json" },
    body: JSON.stringify(value),
  });
  if (!answer.ok) throw new Error(`${id}: ${answer.status} ${await answer.text()}`);
}

async function shoot(person: Person, name: string, fullPage = false): Promise<void> {
  await person.page.waitForTimeout(500); // what moves has come to rest
  await person.page.screenshot({ path: join(FOLDER, `calendar-${name}.png`), fullPage });
}

/** Two people at one event, of whom the second is typing. */
async function edited(browser: Browser): Promise<[Person, Person, string]> {
  const event = `${address}/#/event/weekly`;
  const ann = await Person.arrive(browser, event, "Ann");
  const bob = await Person.arrive(browser, event, "Bob");
  await ann.textbox("Location").fill("Room 7");
  for (const name of ["Bob", "Cleo"]) {
    await ann.textbox("Invite").fill(name);
    await ann.page.keyboard.press("Enter");
  }
  await bob.textbox("Start").fill(at(10, 11).slice(0, 16));
  await bob.page.getByText("Cleo: no answer yet").waitFor();
  await bob.button("Going").click();
  await ann.textbox("Description").fill(NOTES);
  await bob.sees("Description", NOTES);
  await bob.putCaret("Description", NOTES.indexOf("Numbers"));
  await ann.putCaret("Description", NOTES.length);
  await ann.page.keyboard.type("Questions", { delay: 100 });
  await bob.page.keyboard.type("The ", { delay: 100 });
  return [ann, bob, event];
}

/** The title that both changed while the first was away. */
async function disputed(ann: Person, bob: Person): Promise<void> {
  await ann.workOffline(true);
  await ann.textbox("Title").fill("Weekly, an hour later");
  await bob.textbox("Title").fill("Weekly with the new team");
  await bob.says("saved");
  await ann.workOffline(false);
  await ann.conflict.waitFor();
}

const browser = await openBrowser();
try {
  for (const [index, [title, day, hour, end]] of OTHERS.entries())
    await make(`other-${index}`, title, day, hour, end);
  await make("weekly", "Weekly", 10, 10);
  const [ann, bob, event] = await edited(browser);
  await shoot(ann, "event");
  const dark = await Person.arrive(browser, event, "Cleo", DARK);
  await dark.page.getByText("moved from").waitFor();
  await shoot(dark, "dark");
  await dark.leave();
  await bob.textbox("Start").focus();
  const phone = await Person.arrive(browser, event, "Cleo", PHONE);
  await phone.page.getByText("moved from").waitFor();
  await shoot(phone, "phone", true);
  await phone.page.goto(`${address}/#/`);
  await phone.page.emulateMedia(DARK);
  await phone.page.getByText("Weekly").first().waitFor();
  await phone.page.evaluate(() => scrollTo(0, 0)); // it opens where today is
  await shoot(phone, "month-phone");
  await phone.leave();
  await disputed(ann, bob);
  await shoot(ann, "conflict");
  await ann.conflict.getByRole("button", { name: "Keep mine" }).click();
  await ann.page.goto(`${address}/#/`);
  await ann.page.getByText("Board meeting").first().waitFor();
  await shoot(ann, "month");
} finally {
  await browser.close();
  await gateway.close();
}
