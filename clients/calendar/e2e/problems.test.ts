/** What goes wrong is told once, where it is read. */

import type { BrowserContext } from "playwright-core";
import { expect, test } from "vitest";
import { Edits } from "./held.js";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();

const alerts = ({ page }: Person) => page.getByRole("alert");
const toMonth = ({ page }: Person) => page.getByRole("link", { name: "Calendar", exact: true }).click();

test("a conflict of an event that isn't on the screen is told, and led to", async () => {
  const [ann, bob, event] = await stage.together("Lunch");
  const other = await stage.make("dinner", { title: "Dinner", calendar_id: "demo" });
  await ann.workOffline(true);
  await ann.says("offline");
  await ann.textbox("Title").fill("Ann's title");
  await toMonth(ann);
  await ann.button("New event").waitFor();
  await bob.textbox("Title").fill("Bob's title");
  await bob.says("saved");
  await ann.workOffline(false);
  const told = alerts(ann).filter({ hasText: "Ann's title was changed by somebody else too" });
  await told.waitFor();
  await ann.page.goto(other);
  await ann.sees("Title", "Dinner");
  await told.getByRole("link").click();
  await ann.conflict.waitFor();
  expect(ann.page.url()).toBe(event);
  await told.waitFor({ state: "detached" });
  await ann.conflict.getByRole("button", { name: "Keep theirs" }).click();
  await bob.sees("Title", "Bob's title");
  await toMonth(ann);
  await ann.button("New event").waitFor();
  await ann.page.goto(event);
  await ann.sees("Title", "Bob's title");
  expect(await ann.button("Dismiss").count()).toBe(0);
});

test("of an event that somebody deleted meanwhile one is told so, by its title", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.workOffline(true);
  await ann.says("offline");
  await ann.textbox("Location").fill("Room 7");
  await toMonth(ann);
  await ann.page.getByRole("link", { name: /Lunch/ }).waitFor();
  bob.answers("accept");
  await bob.button("Delete").click();
  await bob.page.getByRole("heading", { name: "There is no such event (any more)." }).waitFor();
  await ann.workOffline(false);
  const told = alerts(ann).filter({
    hasText: "Lunch was changed or deleted by somebody else too: open it to decide.",
  });
  await told.getByRole("link").click();
  await ann.conflict.getByRole("button", { name: "Keep mine" }).click();
  await bob.sees("Location", "Room 7");
  await told.waitFor({ state: "detached" });
});

test("a sign-in that the gateway doesn't take is told once", async () => {
  const ann = await stage.arrive("Ann");
  await ann.page.route("**/demo/sign-in", (route) =>
    route.fulfill({ json: { token: "no token", user_id: "Ann", name: "Ann" } }),
  );
  await ann.page.reload();
  await alerts(ann).filter({ hasText: "The gateway doesn’t take this sign-in." }).waitFor();
  expect(await alerts(ann).count()).toBe(1);
});

test("an event that can't be one is told by its page, and nowhere else", async () => {
  const ann = await stage.arrive("Ann");
  await ann.page.goto(`${stage.address}/#/event/no)id`);
  await ann.page.getByRole("heading", { name: "There is no such event" }).waitFor();
  expect(await ann.button("Dismiss").count()).toBe(0);
  await ann.page.getByRole("link", { name: "To the month" }).click();
  await ann.button("New event").waitFor();
  expect(await alerts(ann).count()).toBe(0);
});

test("where the gateway is away, the history says so in plain words, and is there when it is back", async () => {
  const ann = await stage.arrive("Ann");
  const event = await ann.newEvent("Lunch");
  await ann.page.goto(`${stage.address}/#/`);
  await ann.button("New event").waitFor();
  await stage.gateway.kill();
  await ann.says("offline");
  await ann.page.goto(event);
  // The page says so, or, where it has read a history before, the client: in letters of its own.
  await alerts(ann)
    .filter({ hasText: /^No history now: The gateway can.t be reached/ })
    .waitFor();
  await stage.gateway.run();
  await ann.page.getByRole("region", { name: "History" }).getByText("wrote the event").waitFor();
});

/** As in a browser that refuses the locks that tabs share a store by. */
const refuseLocks = (context: BrowserContext) =>
  context.addInitScript(() => {
    navigator.locks.request = () => Promise.reject(new DOMException("Denied", "SecurityError"));
  });

test("where the browser refuses the locks that tabs share a store by, that is told, and edits go out", async () => {
  const ann = await stage.arrive("Ann", undefined, refuseLocks);
  await alerts(ann).filter({ hasText: "Edits aren't stored here, for tabs can't share a store. " }).waitFor();
  const bob = await stage.arrive("Bob", await ann.newEvent("Lunch"));
  await bob.sees("Title", "Lunch");
  await ann.workOffline(true);
  await ann.textbox("Location").fill("Room 7");
  await ann.says("not saved: 1 edit in memory only");
  const asked = ann.answers("dismiss");
  await ann.button("Sign out").click();
  expect(asked).toEqual(["1 edit isn’t sent yet. It is lost when you leave. Sign out?"]);
});

test("where the browser refuses those locks, edits on their way are lost, too, whatever was done before", async () => {
  const edits = new Edits();
  const ann = await stage.arrive("Ann", undefined, async (context) => {
    await refuseLocks(context);
    await edits.prepare(context);
  });
  await alerts(ann).filter({ hasText: "Edits aren't stored here" }).waitFor();
  await ann.newEvent("Lunch");
  await toMonth(ann);
  await ann.button("New event").waitFor();
  await ann.workOffline(true);
  await ann.says("offline");
  await ann.workOffline(false);
  await ann.says("saved");
  edits.areHeld = true;
  await ann.button("New event").click();
  await ann.textbox("Title").fill("Dinner");
  await ann.says("saving");
  const asked = ann.answers("dismiss");
  await ann.button("Sign out").click();
  expect(asked).toEqual([expect.stringMatching(/lost when you leave/)]);
});

test("where the browser's store can't be read that is told in plain words", async () => {
  const ann = await stage.arrive("Ann", stage.address, (context) =>
    context.addInitScript(() => {
      IDBFactory.prototype.open = () => {
        throw new DOMException("It fails.", "UnknownError");
      };
    }),
  );
  const event = await stage.make("lunch", { title: "Lunch" });
  await ann.page.goto(event);
  await ann.sees("Title", "Lunch");
  await alerts(ann).filter({ hasText: "What this browser keeps can’t be read now." }).waitFor();
});

/** As in a browser whose store fails where it reads these events, each by an error of that name. */
const failReads = (errors: Record<string, string>) => (context: BrowserContext) =>
  context.addInitScript((names) => {
    const { get } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.get = function (key) {
      const [, id] = /^doc\/.*\b(\w+)$/.exec(String(key)) ?? [];
      if (id && names[id]) throw new DOMException("It fails.", names[id]);
      return get.call(this, key);
    };
  }, errors);

test.each([
  ["can't be read now", "UnknownError", "What this browser keeps can’t be read now."],
  ["are damaged", "DataError", "A part of what this browser kept is damaged."],
])(
  "where several events of the browser's store %s that is told once, in plain words",
  async (_why, name, words) => {
    const ann = await stage.arrive("Ann", stage.address, failReads({ Lunch: name, Dinner: name }));
    for (const title of ["Lunch", "Dinner"]) {
      await ann.page.goto(await stage.make(title, { title }));
      await ann.sees("Title", title);
      await alerts(ann).filter({ hasText: words }).waitFor();
    }
    expect(await ann.button("Dismiss").count()).toBe(1);
  },
);

test("who dismisses problems by keyboard comes from one to the next, and after the last to the page", async () => {
  const errors = { Lunch: "DataError", Dinner: "UnknownError" };
  const ann = await stage.arrive("Ann", stage.address, failReads(errors));
  const told = ann.button("Dismiss");
  for (const [index, title] of Object.keys(errors).entries()) {
    await ann.page.goto(await stage.make(title, { title }));
    await told.nth(index).waitFor();
  }
  await told.first().press("Enter");
  await told.nth(1).waitFor({ state: "detached" });
  await ann.page.keyboard.press("Tab");
  await ann.page.keyboard.press("Enter");
  await told.waitFor({ state: "detached" });
  await ann.page.locator("main:focus").waitFor();
});

test("on a phone each of many problems can be seen and dismissed, and leaves room for the page", async () => {
  const ids = ["one", "two", "three", "four", "five", "six"];
  const events: string[] = [];
  for (const id of ids) events.push(await stage.make(id, { title: id, calendar_id: "demo" }));
  const ann = await stage.arrive("Ann", stage.address, undefined, { viewport: { width: 360, height: 640 } });
  const bob = await stage.arrive("Bob");
  const retitle = async (person: Person, from: string) => {
    for (const [index, event] of events.entries()) {
      await person.page.goto(event);
      await person.sees("Title", ids[index]!);
      if (from) await person.textbox("Title").fill(`${from} ${ids[index]}`);
    }
  };
  await retitle(ann, "");
  await ann.workOffline(true);
  await ann.says("offline");
  await retitle(ann, "Ann's");
  await toMonth(ann);
  await retitle(bob, "Bob's");
  await bob.says("saved");
  await ann.workOffline(false);
  const told = ann.button("Dismiss");
  await told.nth(ids.length - 1).waitFor();
  const { y, height } = (await ann.page.locator(".problems").boundingBox())!;
  expect(y).toBeGreaterThanOrEqual(300);
  expect(y + height).toBeLessThanOrEqual(640);
  for (let left = ids.length; left; left--) {
    await told.first().click(); // it comes into sight
    await told.nth(left - 1).waitFor({ state: "detached" });
  }
  await ann.page.locator("main:focus").waitFor(); // the last button is gone
});
