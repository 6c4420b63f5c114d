/** The calendar in a real browser, served by a real gateway. */

import { AxeBuilder } from "@axe-core/playwright";
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
  await keyboard.press("ArrowRight");
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

test("an end is typed in peace: one before the start is nobody's, and leaving it takes it back", async () => {
  const [ann, bob] = await stage.together("Lunch");
  const { keyboard } = ann.page;
  const problem = ann.page.getByText("The end can’t be before the start.");
  await ann.textbox("Start").fill("2021-05-06T10:00");
  await ann.textbox("End").focus();
  await keyboard.type("05062021", { delay: 100 });
  await keyboard.press("ArrowRight");
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
    await ann.workOffline(true);
    await ann.says("offline");
    await ann.textbox("Title").fill("Ann's title");
    await bob.textbox("Title").fill("Bob's title");
    await bob.says("saved");
    await ann.workOffline(false);
    await ann.conflict.waitFor();
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
  await ann.page.waitForTimeout(1000);
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
});

test("the month shows an event as soon as somebody made it", async () => {
  const ann = await stage.arrive("Ann");
  const bob = await stage.arrive("Bob");
  await ann.newEvent("Lunch of the team");
  await bob.page.getByRole("link", { name: /Lunch of the team/ }).click();
  await bob.sees("Title", "Lunch of the team");
});

test("the network is cut while both type: all is there when it is back", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.context.setOffline(true);
  await ann.says("offline");
  await ann.textbox("Description").fill("typed without a network");
  await bob.textbox("Location").fill("Room 9");
  await bob.says("saved");
  await ann.page.waitForTimeout(3000);
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
