/** The calendar in a real browser, served by a real gateway. */

import { AxeBuilder } from "@axe-core/playwright";
import type { BrowserContext, Route } from "playwright-core";
import { expect, test } from "vitest";
import { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();

test("a page loads nothing from elsewhere and has no accessibility violation", async () => {
  const [ann] = await stage.together("Lunch");
  const requests: string[] = [];
  ann.page.on("request", (request) => requests.push(request.url()));
  await ann.page.reload();
  await ann.textbox("Title").waitFor();
  expect(requests.filter((url) => !url.startsWith(stage.address) && !url.startsWith("data:"))).toEqual([]);
  for (const url of [`${stage.address}/#/`, ann.page.url()]) {
    await ann.page.goto(url);
    await ann.page.getByRole("status", { name: "Sync" }).waitFor();
    const { violations } = await new AxeBuilder({ page: ann.page }).analyze();
    expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  }
});

test("what one writes the other sees, and who is here", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.textbox("Location").fill("Room 7");
  await bob.sees("Location", "Room 7");
  await bob.people.nth(1).waitFor();
  expect((await bob.people.allTextContents()).join(" ")).toMatch(/Ann.*Bob \(you\)/s);
  await ann.page.goto(`${stage.address}/#/`);
  await bob.people.nth(1).waitFor({ state: "detached" });
});

test("two type into one description at once: carets stay, and both have the same text", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.textbox("Description").fill("[ann: ] [bob: ]");
  await bob.sees("Description", "[ann: ] [bob: ]");
  await ann.putCaret("Description", 6);
  await bob.putCaret("Description", 14);
  const texts = ["the quick brown fox jumps", "over the lazy dog at noon"] as const;
  await Promise.all([
    ann.page.keyboard.type(texts[0], { delay: 100 }),
    bob.page.keyboard.type(texts[1], { delay: 100 }),
  ]);
  const expected = `[ann: ${texts[0]}] [bob: ${texts[1]}]`;
  await Promise.all([ann.sees("Description", expected), bob.sees("Description", expected)]);
});

test("somebody's answer comes while another is about to type: the caret stays with what is typed", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await bob.textbox("Description").fill("Bring cake. ");
  await ann.sees("Description", "Bring cake. ");
  await ann.button("Going").click();
  await bob.page.getByText("Ann: Going").waitFor();
  await bob.page.keyboard.type("We start at noon.", { delay: 50 });
  await ann.sees("Description", "Bring cake. We start at noon.");
});

test("a time is typed in peace: nobody gets the years on the way to it", async () => {
  const [ann, bob] = await stage.together("Lunch");
  const start = ({ page }: Person) => page.getByLabel("Start");
  const seen = start(bob).evaluate((field) => {
    const values = new Set<string>();
    return new Promise<string[]>((resolve) => {
      const look = () => {
        const { value } = field as HTMLInputElement;
        values.add(value);
        if (value === "2021-05-06T07:08") resolve([...values]);
        else requestAnimationFrame(look);
      };
      look();
    });
  });
  await start(ann).focus();
  const { keyboard } = ann.page;
  await keyboard.type("05062021", { delay: 100 });
  await keyboard.type("0708AM", { delay: 100 });
  for (const value of await seen) expect(value).toMatch(/^20\d\d-/);
  expect(await start(ann).inputValue()).toBe("2021-05-06T07:08");
});

test("an event is moved by its start, and keeps its length; taking that back moves it back", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.textbox("Start").fill("2021-05-06T10:00");
  await bob.sees("End", "2021-05-06T11:00");
  await ann.textbox("End").fill("2021-05-06T11:30");
  await bob.sees("End", "2021-05-06T11:30");
  await ann.textbox("Start").fill("2021-05-08T12:00");
  await Promise.all([bob.sees("Start", "2021-05-08T12:00"), bob.sees("End", "2021-05-08T13:30")]);
  await ann.button("Undo").click();
  await Promise.all([bob.sees("Start", "2021-05-06T10:00"), bob.sees("End", "2021-05-06T11:30")]);
});

/** What one types is one burst there, however long the machine takes over it. */
const slowTime = (context: BrowserContext) =>
  context.addInitScript(() => {
    const now = performance.now.bind(performance);
    performance.now = () => now() / 100;
  });

test("a start that is typed is taken back as a whole, and is one change of the history", async () => {
  const event = await stage.make("lunch", {
    title: "Lunch",
    start_time: "2021-05-06T10:00:00Z",
    end_time: "2021-05-06T11:00:00Z",
  });
  const ann = await stage.arrive("Ann", event, slowTime, { timezoneId: "UTC" });
  const start = ann.page.getByLabel("Start");
  const { keyboard } = ann.page;
  await start.focus();
  await keyboard.type("05062021", { delay: 100 });
  await keyboard.type("1130AM", { delay: 100 });
  await ann.sees("End", "2021-05-06T12:30");
  const changes = ann.page.getByRole("region", { name: "History" }).getByRole("listitem");
  await changes.filter({ hasText: /^Ann moved from 10:00 AM to 11:30 AM/ }).waitFor();
  expect(await changes.count()).toBe(2);
  await ann.button("Undo").click();
  await ann.sees("Start", "2021-05-06T10:00");
  expect(await ann.button("Undo").isDisabled()).toBe(true);
});

test("an end is typed in peace: one before the start is nobody's, and leaving it takes it back", async () => {
  const [ann, bob] = await stage.together("Lunch");
  const { keyboard } = ann.page;
  const problem = ann.page.getByText("The end can’t be before the start.");
  await ann.textbox("Start").fill("2021-05-06T10:00");
  await ann.textbox("End").focus();
  await keyboard.type("05062021", { delay: 100 });
  await keyboard.type("1145AM", { delay: 100 }); // its first key makes it 1 o'clock
  await bob.sees("End", "2021-05-06T11:45");
  await ann.textbox("End").fill("2021-05-06T09:00");
  expect(await ann.textbox("End").inputValue()).toBe("2021-05-06T09:00");
  expect(await problem.count()).toBe(0);
  await ann.textbox("Location").focus();
  await problem.waitFor();
  await ann.sees("End", "2021-05-06T11:45");
  await ann.textbox("Location").fill("Room 7");
  await bob.sees("Location", "Room 7");
  expect(await bob.textbox("End").inputValue()).toBe("2021-05-06T11:45");
  expect(await ann.button("Dismiss").count()).toBe(0); // the gateway refused nothing
  await ann.textbox("End").fill("2021-05-06T12:00");
  await problem.waitFor({ state: "detached" });
});

test("an event isn't moved so far that it would end after the year 9999, and one is told why", async () => {
  const times = { start_time: "2026-11-01T10:00:00Z", end_time: "2026-11-09T10:00:00Z" };
  const event = await stage.make("trip", { title: "Trip", ...times });
  const ann = await stage.arrive("Ann", event, undefined, { timezoneId: "UTC" });
  await ann.sees("End", "2026-11-09T10:00");
  await ann.textbox("Start").fill("9999-12-30T10:00");
  await ann.textbox("Location").focus();
  await ann.page.getByText("It would end after the year 9999.").waitFor();
  await ann.sees("Start", "2026-11-01T10:00");
  await ann.textbox("Start").fill("9999-12-22T10:00");
  await ann.sees("End", "9999-12-30T10:00");
  await ann.says("saved");
  expect(await ann.button("Dismiss").count()).toBe(0);
});

test("before the first month and after the last one there is none", async () => {
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/0001-01`);
  const beside = (label: string) => ann.page.getByRole("link", { name: `${label} month` });
  await beside("Next").waitFor();
  expect(await beside("Previous").count()).toBe(0);
  await ann.page.goto(`${stage.address}/#/month/9999-12`);
  await beside("Previous").waitFor();
  await beside("Next").waitFor({ state: "detached" });
  await ann.page.goto(`${stage.address}/#/month/0000-12`);
  await ann.page.getByRole("gridcell").and(ann.page.locator(".today")).waitFor();
});

test("an end before the start is no problem any more once the start is before it", async () => {
  const [ann, bob] = await stage.together("Lunch");
  const problem = ann.page.getByText("The end can’t be before the start.");
  await ann.textbox("Start").fill("2021-05-06T10:00");
  await ann.textbox("End").fill("2021-05-06T09:00");
  await ann.textbox("Location").focus();
  await problem.waitFor();
  await bob.sees("Start", "2021-05-06T10:00"); // else hers may be the later one
  await bob.textbox("Start").fill("2021-05-06T08:00");
  await problem.waitFor({ state: "detached" });
});

const isAt = ({ page }: Person, element: string) =>
  page.evaluate((name) => document.activeElement?.localName === name, element);

test("where what had the focus is gone, the page that took its place has it", async () => {
  const [ann, bob, event] = await stage.together("Lunch");
  const atMain = () => expect.poll(() => isAt(ann, "main"), { timeout: 100_000 }).toBe(true);
  await ann.textbox("Location").focus();
  bob.page.once("dialog", (dialog) => void dialog.accept());
  await bob.button("Delete").click();
  await atMain();
  await ann.page.getByRole("main", { name: "There is no such event (any more)." }).waitFor();
  await ann.button("Sign out").click();
  await atMain();
  await ann.textbox("Your name").fill("Ann");
  await ann.button("Sign in").click();
  await atMain();
  await bob.button("Undo").click();
  await ann.textbox("Location").waitFor();
  expect(ann.page.url()).toBe(event);
  await ann.button("Going").focus();
  await ann.textbox("Title").fill("Brunch");
  await bob.sees("Title", "Brunch");
  expect(await isAt(ann, "main")).toBe(false);
});

test("the tab is named after what it shows, another page begins at its beginning, and a month where one was in it", async () => {
  const [ann, bob] = await stage.together("Lunch");
  const isAtMain = () => isAt(ann, "main");
  const titled = (title: RegExp) => expect.poll(() => ann.page.title(), { timeout: 100_000 }).toMatch(title);
  await titled(/^Lunch – Calendar$/);
  await bob.textbox("Title").fill("Brunch");
  await titled(/^Brunch – Calendar$/);
  await ann.page.getByRole("link", { name: "Calendar", exact: true }).click();
  await titled(/^\S+ \d{4} – Calendar$/);
  expect(await isAt(ann, "td")).toBe(true);
  await ann.page.getByRole("link", { name: "Next month" }).press("Enter");
  expect(
    await ann.page
      .getByRole("link", { name: "Next month" })
      .evaluate((link) => link === document.activeElement),
  ).toBe(true);
  await ann.page.goBack();
  await ann.page.getByRole("link", { name: /Brunch/ }).click();
  await ann.page.getByRole("main", { name: "Brunch" }).waitFor();
  expect(await isAtMain()).toBe(true);
  await ann.page.reload();
  await ann.textbox("Title").waitFor();
  expect(await isAtMain()).toBe(false);
  await ann.button("Sign out").click();
  await titled(/^Calendar$/);
});

test("from an event one comes back to the month that one came from, and from there to this one", async () => {
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2021-02`);
  const home = ann.page.getByRole("link", { name: "Calendar", exact: true });
  const isAtMonth = async (month: string) => {
    await ann.button("New event").waitFor();
    expect(ann.page.url()).toBe(`${stage.address}/${month}`);
  };
  const event = await ann.newEvent("Lunch");
  await ann.page.getByRole("link", { name: "To the month" }).click();
  await isAtMonth("#/month/2021-02");
  await ann.page.getByRole("link", { name: /Lunch/ }).click();
  await ann.textbox("Title").waitFor();
  ann.page.once("dialog", (dialog) => void dialog.accept());
  await ann.button("Delete").click();
  await ann.page.getByRole("link", { name: "To the month" }).click();
  await isAtMonth("#/month/2021-02");
  await home.click();
  await ann.page.getByRole("heading", { name: "February 2021" }).waitFor({ state: "detached" });
  await isAtMonth("#/");
  await ann.page.goto(event);
  await ann.page.getByRole("heading", { name: "There is no such event (any more)." }).waitFor();
  await home.click();
  await isAtMonth("#/");
});

test("an event that is made begins with its title, which is typed at once", async () => {
  const ann = await stage.arrive("Ann");
  await ann.button("New event").click();
  await ann.textbox("Title").waitFor();
  await ann.page.keyboard.type("Lunch");
  await ann.sees("Title", "Lunch");
});

test("a mangled address says that there is nothing, and shows the way back", async () => {
  const ann = await stage.arrive("Ann");
  for (const [mangled, said] of [
    ["%", "There is nothing at this address."],
    ["no)id", "There is no such event, or this sign-in may not see it."],
  ] as const) {
    await ann.page.goto(`${stage.address}/#/event/${mangled}`);
    await ann.page.getByRole("heading", { name: said }).waitFor();
    await ann.page.getByRole("link", { name: "To the month" }).click();
    await ann.button("New event").waitFor();
  }
  await ann.says("online");
});

test("who comes to an event of which nobody was asked is its first attendee", async () => {
  const event = await stage.make("lunch", { title: "Lunch", start_time: "2021-05-06T10:00:00Z" });
  const ann = await stage.arrive("Ann", event);
  await ann.button("Going").click();
  await ann.page.getByText("Ann: Going").waitFor();
  const bob = await stage.arrive("Bob", event);
  await bob.button("Not going").click();
  await ann.page.getByText("Bob: Not going").waitFor();
});

test("an edit is taken back and done again", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.textbox("Location").fill("Room 7");
  await bob.sees("Location", "Room 7");
  await ann.button("Undo").click();
  await bob.sees("Location", "");
  await ann.button("Redo").click();
  await bob.sees("Location", "Room 7");
});

for (const [answer, result] of [
  ["Keep mine", "Ann's title"],
  ["Keep theirs", "Bob's title"],
  ["Merge", "Both titles"],
] as const) {
  test(`a title changed by both while one was offline: ${answer}`, async () => {
    const [ann, bob] = await stage.together("Lunch");
    await stage.dispute(ann, bob, "Ann's title", "Bob's title");
    expect(await ann.conflict.textContent()).toContain("Bob's title");
    if (answer === "Merge") await ann.conflict.getByRole("textbox").fill(result);
    await ann.conflict.getByRole("button", { name: answer }).click();
    await ann.conflict.waitFor({ state: "detached" });
    await Promise.all([ann.sees("Title", result), bob.sees("Title", result)]);
  });
}

test("a conflict waits for its answer, whatever Escape does, and then one types on", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.workOffline(true);
  await ann.says("offline");
  await ann.textbox("Title").fill("Ann's title");
  await bob.textbox("Title").fill("Bob's title");
  await bob.says("saved");
  await ann.textbox("Location").focus();
  await ann.page.getByRole("switch", { name: "Work offline" }).dispatchEvent("click"); // leaves the focus there
  await ann.conflict.waitFor();
  for (let time = 0; time < 3; time++) await ann.page.keyboard.press("Escape");
  await ann.conflict.waitFor();
  for (const key of ["Space", "Enter"]) await ann.page.keyboard.press(key); // as if one were typing still
  await ann.conflict.getByRole("button", { name: "Keep mine" }).click();
  await ann.conflict.waitFor({ state: "detached" });
  await ann.page.keyboard.type("Room 7");
  await Promise.all([bob.sees("Title", "Ann's title"), bob.sees("Location", "Room 7")]);
});

test("the gateway is killed while somebody types: everything arrives when it is back", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.textbox("Description").click();
  const typing = ann.page.keyboard.type("typed through a crash of the gateway", { delay: 60 });
  await stage.gateway.kill();
  await typing;
  await stage.gateway.run();
  await ann.says("saved");
  await bob.sees("Description", "typed through a crash of the gateway");
});

test("a tab closed offline with 150 edits and opened again: everything there, once", async () => {
  const [ann, bob, event] = await stage.together("Lunch");
  await ann.workOffline(true);
  await ann.says("offline");
  const text = Array.from({ length: 150 }, (_, number) => String(number % 10)).join("");
  await ann.textbox("Description").click();
  await ann.page.keyboard.type(text);
  await ann.keeps(150);
  await ann.page.close();
  const again = await ann.anotherTab(event);
  stage.everybody.push(again);
  await again.sees("Description", text);
  await again.says("saved");
  await bob.sees("Description", text);
});

test("history says who changed what, and restores", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await bob.textbox("Location").fill("Room 8");
  await ann.sees("Location", "Room 8");
  const history = ann.page.getByRole("region", { name: "History" });
  await history.getByText("set the location to “Room 8”").waitFor();
  await history
    .getByRole("button", { name: /Restore version/ })
    .first()
    .click();
  await bob.sees("Location", "");
  await history.getByText("emptied the location").waitFor();
});

test("the month shows an event as soon as somebody made it", async () => {
  const ann = await stage.arrive("Ann");
  const bob = await stage.arrive("Bob");
  await ann.newEvent("Lunch of the team");
  await bob.page.getByRole("link", { name: /Lunch of the team/ }).click();
  await bob.sees("Title", "Lunch of the team");
});

test("the way back to the month shows it at once, without a connection too, and says so", async () => {
  const ann = await stage.arrive("Ann");
  await ann.newEvent("Lunch of the team");
  const wayBack = ann.page.getByRole("link", { name: "Calendar", exact: true });
  await wayBack.click();
  const lunch = ann.page.getByRole("link", { name: /Lunch of the team/ });
  await lunch.click(); // what the month tells comes a moment after the event is saved
  await ann.sees("Title", "Lunch of the team");
  await ann.workOffline(true);
  await ann.says("offline");
  await ann.page.getByText("Who is here is seen as soon as there is a connection.").waitFor();
  await wayBack.click();
  await lunch.waitFor();
  const note = ann.page.getByText("As it was before the connection was lost.");
  await note.waitFor();
  await ann.workOffline(false);
  await note.waitFor({ state: "detached" });
});

test("months and days are those of the page's language, also where people count others, in the history too", async () => {
  const persian = { locale: "fa-IR", timezoneId: "UTC" };
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2026-11`, undefined, persian);
  await ann.page.getByRole("heading", { name: "November 2026" }).waitFor();
  const day = ann.page.getByRole("gridcell", { name: "Saturday 7" });
  await day.getByRole("button", { name: "7 November" }).click();
  const changes = ann.page.getByRole("region", { name: "History" });
  await changes
    .getByRole("time")
    .filter({ hasText: /^[A-Z][a-z]{2},? \d+ [A-Z][a-z]{2,3}, \d\d:\d\d$/ })
    .waitFor();
});

test("a month that nothing is known of yet says so where there is no connection", async () => {
  const ann = await stage.arrive("Ann");
  await ann.page.routeWebSocket("**/realtime*", (socket) => socket.close());
  await ann.page.route("**/v1/**", (route) => route.abort());
  await ann.page.reload();
  await ann.page.getByText("The events are shown as soon as there is a connection.").waitFor();
});

for (const [how, answer] of [
  ["refuses", (route: Route) => route.abort()],
  ["doesn't answer", () => {}],
] as const)
  test(`where the network ${how} nobody new signs in, and is told what to do`, async () => {
    const ann = await stage.arrive("Ann");
    await ann.button("Sign out").click();
    await ann.page.route("**/demo/sign-in", answer);
    await ann.textbox("Your name").fill("Bob");
    await ann.button("Sign in").click();
    await ann.page.getByRole("alert").filter({ hasText: "The gateway can’t be reached." }).waitFor();
    await ann.textbox("Your name").fill("Ann");
    await ann.button("Sign in").click();
    await ann.sync.waitFor();
  });

const invisible = (isOn: boolean, { page }: Person) =>
  page.getByRole("switch", { name: "Invisible", checked: isOn });

/** Ann is invisible in two tabs, at the event where Bob is. */
async function invisibleInTwoTabs(): Promise<[Person, Person, Person]> {
  const [ann, bob, event] = await stage.together("Lunch");
  const again = await ann.anotherTab(event);
  stage.everybody.push(again);
  await bob.people.nth(1).waitFor();
  await invisible(false, ann).click();
  for (const tab of [ann, again]) await invisible(true, tab).waitFor();
  await bob.people.nth(1).waitFor({ state: "detached" });
  return [ann, again, bob];
}

test("invisible in one tab is shown in the other, and taken back there", async () => {
  const [ann, again, bob] = await invisibleInTwoTabs();
  await invisible(true, again).click();
  for (const tab of [ann, again]) await invisible(false, tab).waitFor();
  await bob.people.nth(1).waitFor();
});

test("who signs in again is seen as the other tab is by now, which was invisible before", async () => {
  const [ann, again, bob] = await invisibleInTwoTabs();
  await ann.button("Sign out").click();
  await ann.button("Sign in").waitFor();
  await invisible(true, again).click();
  await bob.people.nth(1).waitFor();
  await ann.textbox("Your name").fill("Ann");
  await ann.button("Sign in").click();
  for (const tab of [ann, again]) await invisible(false, tab).waitFor();
  await ann.textbox("Location").fill("Room 7");
  await bob.sees("Location", "Room 7");
  expect(await bob.people.count()).toBe(2);
});

test("who signs out in one of two tabs stays invisible in the other, after a reload too, and nowhere later", async () => {
  const [ann, again, bob] = await invisibleInTwoTabs();
  await ann.button("Sign out").click();
  await ann.button("Sign in").waitFor();
  await again.page.reload();
  await invisible(true, again).waitFor();
  await again.textbox("Location").fill("Room 7");
  await bob.sees("Location", "Room 7");
  expect(await bob.people.count()).toBe(1);
  await again.button("Sign out").click();
  await again.textbox("Your name").fill("Ann");
  await again.button("Sign in").click();
  await invisible(false, again).waitFor();
  await bob.people.nth(1).waitFor();
});

test("who is invisible is so after a reload, and is told nobody before", async () => {
  const [ann, bob, event] = await stage.together("Lunch");
  await bob.people.nth(1).waitFor();
  await invisible(false, ann).click();
  await bob.people.nth(1).waitFor({ state: "detached" });
  await bob.page.evaluate(() => {
    const list = document.querySelector(".collab-people") as Element;
    const seen = () => Object.assign(globalThis, { seen: list.textContent });
    new MutationObserver(() => list.children.length > 1 && seen()).observe(list, { childList: true });
  });
  await ann.page.reload();
  await invisible(true, ann).waitFor();
  await ann.textbox("Location").fill("Room 7");
  await bob.sees("Location", "Room 7");
  expect(await bob.page.evaluate(() => (globalThis as { seen?: string }).seen)).toBeUndefined();
  await ann.button("Sign out").click();
  await ann.textbox("Your name").fill("Cleo");
  await ann.button("Sign in").click();
  await ann.sync.waitFor();
  await ann.page.goto(event);
  await bob.people.filter({ hasText: "Cleo" }).waitFor(); // it was Ann's
});

/** Runs in the page, before its own code: as in a browser whose user lets no site keep anything. */
function blockSiteData(): void {
  const refused = () => new DOMException("Site data is blocked.", "SecurityError");
  const get = () => {
    throw refused();
  };
  for (const name of ["sessionStorage", "localStorage"]) Object.defineProperty(window, name, { get });
  LockManager.prototype.request = () => Promise.reject(refused());
  IDBFactory.prototype.open = get;
}

/** As in windows that have no database. */
function takeDatabase(): void {
  Object.defineProperty(window, "indexedDB", { value: undefined });
}

for (const prepare of [blockSiteData, takeDatabase])
  test(`where the browser keeps nothing one edits all the same, and is asked before edits are left: ${prepare.name}`, async () => {
    const bob = await stage.arrive("Bob");
    const ann = await stage.arrive("Ann", stage.address, (context) => context.addInitScript(prepare));
    await ann.newEvent("Lunch of the team");
    await bob.page.getByRole("link", { name: /Lunch of the team/ }).waitFor();
    expect(await ann.button("Dismiss").count()).toBe(0);
    await ann.workOffline(true);
    await ann.says("offline");
    await ann.textbox("Location").fill("Room 7");
    await ann.says("offline, 1 edit kept here");
    const asked = ann.answers("dismiss");
    await ann.button("Sign out").click();
    expect(asked).toEqual(["1 edit isn’t sent yet. It is lost when you leave. Sign out?"]);
  });

test("who comes types a name at once, and whoever signs out hears first where that led", async () => {
  const ann = await stage.arrive("Ann");
  const page = await (await ann.context.browser()!.newContext({ serviceWorkers: "block" })).newPage();
  const cleo = Person.at(page, ann);
  await page.goto(stage.address);
  await cleo.button("Sign in").waitFor();
  await page.keyboard.type("Cleo");
  await page.keyboard.press("Enter");
  await cleo.button("Sign out").click();
  await cleo.textbox("Your name").waitFor();
  await page.waitForFunction(() => document.activeElement?.localName === "main");
  await page.context().close();
});

test("that a name is missing is told until one is typed", async () => {
  const person = await stage.arrive("Ann");
  await person.button("Sign out").click();
  await person.button("Sign in").click();
  const complaint = person.page.getByRole("alert").filter({ hasText: "Type a name first." });
  await complaint.waitFor();
  await person.textbox("Your name").fill("B");
  await complaint.waitFor({ state: "detached" });
});

test("who signs in while the one before is being signed in again stays that", async () => {
  const person = await stage.arrive("Ann");
  await person.says("online, saved"); // each token that comes says who Ann is
  let answer = () => {};
  const held = new Promise<void>((resolve) => {
    answer = resolve;
  });
  await person.page.route("**/demo/sign-in", async (route) => {
    if (route.request().postDataJSON().name === "Ann") await held;
    await route.continue();
  });
  await person.page.evaluate(() => localStorage.clear()); // else it is known who Ann is
  await person.page.addInitScript(() => {
    AbortSignal.timeout = () => new AbortController().signal; // however long it is held here
  });
  await person.page.reload();
  await person.page.getByRole("status").filter({ hasText: "Signing in…" }).waitFor();
  await person.textbox("Your name").fill("Bob");
  await person.button("Sign in").click();
  const me = person.page.locator(".me").filter({ hasText: "Bob" });
  await me.waitFor();
  const late = person.page.waitForResponse((response) => response.request().postDataJSON()?.name === "Ann");
  answer();
  await (await late).finished();
  await person.newEvent("Lunch");
  await me.waitFor();
});

test("the network is cut while both type: all is there when it is back", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.context.setOffline(true);
  await ann.says("offline");
  await ann.textbox("Description").fill("typed without a network");
  await bob.textbox("Location").fill("Room 9");
  await bob.says("saved");
  await ann.context.setOffline(false);
  await ann.says("online, saved");
  await Promise.all([ann.sees("Location", "Room 9"), bob.sees("Description", "typed without a network")]);
});

test("real time is switched off and on again: edits are kept, and all is there afterwards", async () => {
  const [ann, bob] = await stage.together("Lunch");
  stage.gateway.configure("[features]\nkill_switch = true\n");
  await Promise.all([ann.says("polling"), bob.says("polling")]);
  await ann.textbox("Location").fill("Room 10");
  stage.gateway.configure("[features]\nkill_switch = false\n");
  // A socket is tried before each poll.
  await Promise.all([ann.says("online, saved", 60_000), bob.says("online, saved", 60_000)]);
  await Promise.all([ann.sees("Location", "Room 10"), bob.sees("Location", "Room 10")]);
});

test("a duplicated tab is a client of its own: both edit, neither is thrown out", async () => {
  const [ann, bob, event] = await stage.together("Lunch");
  const [opened] = await Promise.all([
    ann.context.waitForEvent("page"),
    ann.page.evaluate((url) => void window.open(url), event), // with a copy of the tab's session storage
  ]);
  const twin = Person.at(opened, ann);
  await twin.says("saved");
  await twin.textbox("Location").fill("Room 11");
  await Promise.all([ann.sees("Location", "Room 11"), bob.sees("Location", "Room 11")]);
  await ann.textbox("Location").fill("Room 12");
  await Promise.all([twin.sees("Location", "Room 12"), bob.sees("Location", "Room 12")]);
  await ann.says("online");
  await twin.says("online");
});
