/** The page in the reader's language, as a browser translates it: that takes the place of each text. */

import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();

/** Puts each text, and each that comes later, into elements of the translation's. Its words stay the same here. */
function translate(): void {
  const isFit = ({ data, parentElement }: Text) =>
    data.trim() && !parentElement?.closest("font, textarea, [translate=no]");
  const put = (text: Text) => {
    const [outer, inner] = [document.createElement("font"), document.createElement("font")];
    outer.append(inner);
    inner.textContent = text.data;
    text.replaceWith(outer);
  };
  const putAll = (root: Node) => {
    const texts = document.createNodeIterator(root, NodeFilter.SHOW_TEXT);
    const found: Text[] = [];
    for (let text = texts.nextNode(); text; text = texts.nextNode()) found.push(text as Text);
    for (const text of found) if (isFit(text)) put(text);
  };
  putAll(document.body);
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) for (const node of addedNodes) putAll(node);
  }).observe(document.body, { subtree: true, childList: true });
}

const shows = (person: Person, text: string | RegExp) => person.page.getByText(text).first().waitFor();

test("a page that is translated follows what others do, and says where they are by now", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.page.evaluate(translate);
  const him = ann.people.filter({ hasText: "Bob" });
  await bob.textbox("Description").fill("Bring cake.");
  await him.filter({ hasText: "Bob, editing Description" }).waitFor();
  await ann.sees("Description", "Bring cake.");
  await bob.textbox("Description").press("Home");
  await ann.page.locator(".collab-cursors", { hasText: "BobBring cake." }).waitFor();
  await bob.textbox("Location").focus();
  await him.filter({ hasText: "Bob, editing Location" }).waitFor();
  await bob.textbox("Location").blur();
  await him.filter({ hasText: /^\s*B\s*Bob\s*$/ }).waitFor();
});

test("a page that is translated says what was answered last", async () => {
  const ann = await stage.arrive("Ann");
  await ann.newEvent("Lunch");
  await ann.page.evaluate(translate);
  await ann.button("Going").click();
  await shows(ann, "Ann: Going");
  await ann.button("Maybe").click();
  await shows(ann, "Ann: Maybe");
  expect(await ann.page.getByText("Ann: Going").count()).toBe(0);
  await shows(ann, "answered “Maybe”"); // said at first without what was there before
});

test("a month that is translated says how many events a day has by now", async () => {
  const make = (hour: number) =>
    stage.make(`at-${hour}`, { title: "Talk", start_time: `2021-02-17T${hour}:00:00Z`, calendar_id: "demo" });
  for (const hour of [10, 11, 12, 13, 14]) await make(hour);
  const zone = { timezoneId: "UTC", locale: "en-GB" };
  const ann = await stage.arrive("Ann", `${stage.address}/#/month/2021-02`, undefined, zone);
  await shows(ann, "+2 more");
  await ann.page.evaluate(translate);
  await make(15);
  await shows(ann, "+3 more");
});
