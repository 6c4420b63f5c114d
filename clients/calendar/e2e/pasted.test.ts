/** What comes with texts from elsewhere, and what doesn't fit. */

import { expect, test } from "vitest";
import type { Person } from "./people.js";
import { Stage } from "./stage.js";

// Small, for a browser takes long over a large text.
const stage = new Stage({ "limits.message_bytes_max": 40_000, "limits.document_bytes_max": 50_000 });

/** As if it were pasted where the caret is. */
const paste = (person: Person, field: string, text: string) =>
  person.textbox(field).evaluate((element, pasted) => {
    (element as HTMLElement).focus();
    document.execCommand("insertText", false, pasted);
  }, text);

test("what nobody sees of a pasted text is left out, and the rest is there, with the caret behind it", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.textbox("Description").fill("Notes: .");
  await ann.putCaret("Description", 7);
  await paste(ann, "Description", "one\vtwo\u0007 \ud83c\u202ethree");
  await ann.page.keyboard.type("!");
  await bob.sees("Description", "Notes: one\ntwo three!.");
  await ann.textbox("Location").fill("");
  await paste(ann, "Location", "\u202aC:\\Room\u0000 7\ud83c");
  await bob.sees("Location", "C:\\Room 7");
  await paste(ann, "Invite", "Cleo\u0007");
  await ann.button("Add").click();
  await bob.page.getByText("Cleo: no answer yet").waitFor();
  expect(await ann.button("Dismiss").count()).toBe(0);
});

test("a name with what nobody sees in it is taken without that", async () => {
  const ann = await stage.arrive("Ann\u0007");
  await ann.page.getByText("Ann", { exact: true }).first().waitFor();
});

test("a text that is too long is told so in plain words, and what was there stays", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.textbox("Description").fill("Bring cake.");
  await bob.sees("Description", "Bring cake.");
  await ann.putCaret("Description", 11);
  const told = (text: string) => ann.page.getByRole("alert").filter({ hasText: text });
  await paste(ann, "Description", "lorem ipsum ".repeat(4_000));
  await told("That is too long to be sent at once, and isn’t kept.").waitFor();
  await ann.sees("Description", "Bring cake.");
  const half = "lorem ipsum ".repeat(2_500);
  await paste(ann, "Description", half);
  await bob.sees("Description", `Bring cake.${half}`);
  await paste(ann, "Description", half);
  await told("There is no room for that in the event, and it isn’t kept.").waitFor();
  await ann.sees("Description", `Bring cake.${half}`);
});

test("in a text that another program broke into lines in its way, what is typed stands where the caret is", async () => {
  const event = await stage.make("lunch", { title: "Lunch", description: "one\r\ntwo\r\nthree\r\nfour\r\n" });
  const [ann, bob] = [await stage.arrive("Ann", event), await stage.arrive("Bob", event)];
  for (const person of [ann, bob]) await person.sees("Description", "one\ntwo\nthree\nfour\n");
  await ann.putCaret("Description", 18);
  await bob.putCaret("Description", 0);
  await bob.page.keyboard.type("Bob: ");
  await ann.sees("Description", "Bob: one\ntwo\nthree\nfour\n");
  await ann.page.keyboard.type("!");
  await bob.sees("Description", "Bob: one\ntwo\nthree\nfour!\n");
});

test("such a text that comes while one types doesn't move the caret, and can be gone on in; undo leaves its lines", async () => {
  const [ann, bob] = await stage.together("Lunch");
  await ann.textbox("Description").fill("Bring cake.");
  await bob.sees("Description", "Bring cake.");
  await ann.page.waitForTimeout(1_000); // what follows is another burst
  await ann.putCaret("Description", 11);
  const id = new URL(ann.page.url()).hash.slice("#/event/".length);
  const text = { op: "text", path: "/description", value: ["1.\r\n2.\r\n3.\r\n"] };
  await stage.edit(id, await stage.versionOf(id), [text]);
  await ann.sees("Description", "1.\n2.\n3.\nBring cake.");
  await ann.page.keyboard.type("!");
  await bob.sees("Description", "1.\n2.\n3.\nBring cake.!");
  await bob.putCaret("Description", 8);
  await bob.page.keyboard.type(" ");
  await ann.sees("Description", "1.\n2.\n3. \nBring cake.!");
  await ann.page.keyboard.press("Control+z");
  for (const person of [ann, bob]) await person.sees("Description", "1.\n2.\n3. \nBring cake.");
});

test("two who go to such a text at once leave it as it is", async () => {
  const lines = Array.from({ length: 200 }, (_, at) => `x ${at}`);
  const event = await stage.make("lunch", { title: "Lunch", description: lines.join("\r\n") });
  const [ann, bob] = [await stage.arrive("Ann", event), await stage.arrive("Bob", event)];
  const text = lines.join("\n");
  for (const person of [ann, bob]) await person.sees("Description", text);
  await ann.workOffline(true);
  await ann.putCaret("Description", 0);
  await ann.page.keyboard.type("Ann: ");
  await bob.putCaret("Description", text.length);
  await bob.page.keyboard.type(" (Bob)");
  await bob.says("saved");
  await ann.workOffline(false);
  for (const person of [ann, bob]) await person.sees("Description", `Ann: ${text} (Bob)`);
});
