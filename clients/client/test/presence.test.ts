/** Who is here, and where, on a real gateway. */

import { expect, test } from "vitest";
import { People } from "./support/people.js";
import { until } from "./support/until.js";

const people = new People();

test("people see each other come and go, with colours", async () => {
  const { document: ann } = await people.event("ann");
  const { client, document: ben } = await people.join("ben", ann.id);
  const { others } = await until(ann.presence, (now) => now.others.length === 1);
  expect(others[0]).toMatchObject({ user_id: "ben", user: { name: "ben" }, is_typing: false });
  expect(others[0]?.user.color).toMatch(/^#[0-9a-f]{6}$/);
  await until(ben.presence, (now) => now.others[0]?.user_id === "ann" && now.self?.user_id === "ben");
  expect(ben.presence.snapshot.count).toBe(2);
  await client.close();
  await until(ann.presence, (now) => now.others.length === 0);
});

test("a cursor is carried through text changes, in UTF-16 offsets", async () => {
  const { document: ann } = await people.event("ann", { description: "🎂 cake" });
  const { document: ben } = await people.join("ben", ann.id);
  ben.presence.setCursor({ field: "description", position: "🎂 ca".length });
  const cursor = () => ann.presence.snapshot.others[0]?.cursor;
  await until(ann.presence, () => cursor()?.position === "🎂 ca".length);
  ann.setText("/description", "🎉🎂 cake");
  expect(cursor()).toEqual({ field: "description", position: "🎉🎂 ca".length });
  await ann.saved();
});

test("a cursor stands after what its owner types at it, and before what others do", async () => {
  const { document: ann } = await people.event("ann", { description: "abc" });
  const { document: ben } = await people.join("ben", ann.id);
  ben.presence.setCursor({ field: "description", position: 1, anchor: 3 });
  const cursor = () => ann.presence.snapshot.others[0]?.cursor;
  await until(ann.presence, () => cursor()?.position === 1 && cursor()?.anchor === 3);
  ben.edit({ op: "text", path: "/description", value: [1, "!"] });
  await until(ann, (now) => now.view?.description === "a!bc");
  expect(cursor()).toEqual({ field: "description", position: 2, anchor: 4 });
  ann.edit({ op: "text", path: "/description", value: [2, "?"] });
  expect(cursor()).toEqual({ field: "description", position: 2, anchor: 5 });
  await ann.saved();
  await until(ben, (now) => now.view?.description === "a!?bc");
  expect(cursor()).toEqual({ field: "description", position: 2, anchor: 5 });
});

test("who comes later sees a cursor where it stands by now", async () => {
  const { document: ann } = await people.event("ann", { description: "abc" });
  const { document: ben } = await people.join("ben", ann.id);
  ben.presence.setCursor({ field: "description", position: 1 });
  await until(ann.presence, (now) => now.others[0]?.cursor.position === 1);
  ben.edit({ op: "text", path: "/description", value: [1, "!"] });
  await ben.saved();
  await until(ann, (now) => now.view?.description === "a!bc");
  ann.edit({ op: "text", path: "/description", value: ["🎉 "] });
  await ann.saved();
  const { document: cleo } = await people.join("cleo", ann.id);
  const { others } = await until(cleo.presence, (now) => now.others.length === 2);
  const cursor = others.find(({ user_id }) => user_id === "ben")?.cursor;
  expect(cursor).toEqual({ field: "description", position: "🎉 a!".length });
});

test("typing shows, and ends by itself when the cursor leaves", async () => {
  const { document: ann } = await people.event("ann", { description: "" });
  const { document: ben } = await people.join("ben", ann.id);
  ben.setText("/description", "Hello");
  await until(ann.presence, (now) => now.others[0]?.is_typing === true);
  ben.presence.setCursor(null);
  await until(ann.presence, (now) => now.others[0]?.is_typing === false);
});

test("invisible is not seen, and visible again is", async () => {
  const { document: ann } = await people.event("ann");
  const { client, document: ben } = await people.join("ben", ann.id, { visible: false });
  await until(ben.presence, (now) => now.others[0]?.user_id === "ann");
  expect(ann.presence.snapshot.others).toEqual([]);
  client.setVisible(true);
  await until(ann.presence, (now) => now.others[0]?.user_id === "ben");
  client.setVisible(false);
  await until(ann.presence, (now) => now.others.length === 0);
});

test("what didn't change is the same object", async () => {
  const { document: ann } = await people.event("ann", { description: "a" });
  await people.join("ben", ann.id);
  const { others } = await until(ann.presence, (now) => now.others.length === 1);
  ann.set("/title", "Other");
  await ann.saved();
  expect(ann.presence.snapshot.others).toBe(others);
});
