/** Keys that take back, in a text that others write in too. */

import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

const stage = new Stage();

const press = ({ page }: Person, keys: string) => page.keyboard.press(keys);

const caret = (person: Person, field: string) =>
  person.textbox(field).evaluate((element) => (element as HTMLTextAreaElement).selectionStart);

test("Ctrl+Z takes back what one typed oneself, wherever it is by now, and leaves what others wrote", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.putCaret("Description", 0);
  await ann.page.keyboard.insertText("Bring cake.");
  await bob.sees("Description", "Bring cake.");
  await bob.putCaret("Description", 0);
  await bob.page.keyboard.type("1. ");
  await ann.sees("Description", "1. Bring cake.");
  await press(ann, "Control+z");
  for (const person of [ann, bob]) await person.sees("Description", "1. ");
  expect(await caret(ann, "Description")).toBe(3);
  await press(ann, "Control+Shift+Z");
  for (const person of [ann, bob]) await person.sees("Description", "1. Bring cake.");
  expect(await caret(ann, "Description")).toBe(14);
  await press(ann, "Control+z");
  await press(ann, "Control+y");
  await ann.page.keyboard.type("!");
  for (const person of [ann, bob]) await person.sees("Description", "1. Bring cake.!");
});

test("what others removed stays removed when one takes back what one typed around it", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.textbox("Description").fill("Bring cake.");
  await bob.sees("Description", "Bring cake.");
  await bob.textbox("Description").fill("Bring .");
  await ann.sees("Description", "Bring .");
  await ann.page.waitForTimeout(1_000); // what follows is another burst
  await ann.putCaret("Description", 7);
  await ann.page.keyboard.insertText(" Now");
  await bob.sees("Description", "Bring . Now");
  await press(ann, "Control+z");
  for (const person of [ann, bob]) await person.sees("Description", "Bring .");
  await press(ann, "Control+z");
  for (const person of [ann, bob]) await person.sees("Description", "");
});

test("the browser's own menu takes back in the event, too", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.putCaret("Description", 0);
  await ann.page.keyboard.insertText("Bring cake.");
  await bob.sees("Description", "Bring cake.");
  await bob.putCaret("Description", 0);
  await bob.page.keyboard.insertText("1. ");
  await ann.sees("Description", "1. Bring cake.");
  const browser = await ann.context.newCDPSession(ann.page);
  await browser.send("Input.dispatchKeyEvent", { type: "rawKeyDown", commands: ["undo"] });
  for (const person of [ann, bob]) await person.sees("Description", "1. ");
});

test("keys that are held down never delete the event, nor do they delete it again; buttons do", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.putCaret("Title", 5);
  for (let times = 1; times <= 5; times++) await press(ann, "Control+z");
  for (const person of [ann, bob]) await person.sees("Title", "");
  await ann.button("Undo").click();
  await ann.textbox("Title").waitFor({ state: "detached" });
  await ann.button("Redo").click();
  for (const person of [ann, bob]) await person.sees("Title", "");
  ann.answers("accept");
  await ann.button("Delete").click();
  await ann.button("Undo").click();
  await ann.putCaret("Title", 0);
  await press(ann, "Control+y");
  await ann.textbox("Location").fill("Room 7");
  await bob.sees("Location", "Room 7");
});

test.each([
  ["a key that types by AltGr types", { key: "\u017c", altKey: true }],
  ["a key that comes while a word is composed is the input method's", { key: "z", isComposing: true }],
])("%s", async (_, pressed) => {
  const [ann] = await stage.together("Lunch");
  await ann.putCaret("Title", 5);
  const isTaken = await ann.textbox("Title").evaluate((field, pressed) => {
    const key = { keyCode: 90, ctrlKey: true, cancelable: true, bubbles: true, ...pressed };
    return !field.dispatchEvent(new KeyboardEvent("keydown", key));
  }, pressed);
  expect(isTaken).toBe(false);
  await ann.sees("Title", "Lunch");
});
