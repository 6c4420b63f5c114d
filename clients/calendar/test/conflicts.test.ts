/** An event's conflicts as people decide them, on a real gateway. */

import { type ClientOptions, type Conflict, memoryStore, type SharedDocument } from "@collab/client";
import { expect, test } from "vitest";
import { People } from "../../client/test/support/people.js";
import { gatedWrites, holdingSockets } from "../../client/test/support/tabs.js";
import { goOffline, until } from "../../client/test/support/until.js";
import { Conflicts } from "../src/conflicts.js";
import type { EventDocument } from "../src/event.js";

const people = new People();

const at = (hour: number) => `2026-11-30T${String(hour).padStart(2, "0")}:00:00Z`;
const span = (from: number, to = from + 1) => ({ start_time: at(from), end_time: at(to) });

async function open(user: string, id: string, options: Partial<ClientOptions> = {}) {
  const client = people.client(user, options);
  const document = client.open<EventDocument>("event", id);
  await document.ready();
  const move = (from: number) =>
    document.edit([
      { op: "replace", path: "/start_time", value: at(from) },
      { op: "replace", path: "/end_time", value: at(from + 1) },
    ]);
  return { client, document, move };
}

type Editor = Awaited<ReturnType<typeof open>>;

/** Two who have an event open. */
async function together(): Promise<{ ann: Editor; bob: Editor; conflicts: Conflicts }> {
  const id = people.newId();
  const bob = await open("bob", id);
  bob.document.create({ title: "Lunch", ...span(9) });
  await bob.document.saved();
  const ann = await open("ann", id);
  return { ann, bob, conflicts: new Conflicts(ann.document) };
}

/** Ann edits offline what Bob edits meanwhile; so many conflicts come of it. */
async function meanwhile(ann: Editor, bob: Editor, hers: () => void, his: () => void, count: number) {
  const before = ann.document.snapshot.conflicts.length;
  await goOffline(ann.client);
  hers();
  his();
  await bob.document.saved();
  ann.client.connect();
  await until(ann.document, (now) => now.conflicts.length === before + count);
  await ann.document.saved();
}

const collide = (ann: Editor, bob: Editor, mine: number, theirs: number) =>
  meanwhile(
    ann,
    bob,
    () => ann.move(mine),
    () => bob.move(theirs),
    2,
  );

/** Ann moves an event, offline, that Bob moves meanwhile; what is asked of her. */
async function asked() {
  const all = await together();
  await collide(all.ann, all.bob, 12, 15);
  return all;
}

const questions = ({ snapshot }: Conflicts) => snapshot.conflicts;

test("an event that both moved is one question, of when it is", async () => {
  const { bob, conflicts } = await asked();
  const [question, ...others] = questions(conflicts);
  expect(question).toMatchObject({ path: "/when", base: span(9), mine: span(12), theirs: span(15) });
  expect(others).toEqual([]);
  conflicts.resolve(question?.id ?? "", "theirs");
  expect(questions(conflicts)).toEqual([]);
  await until(bob.document, ({ view }) => view?.start_time === at(15) && view.end_time === at(16));
});

test("where the event is gone the question stays, and says why", async () => {
  const { ann, bob, conflicts } = await asked();
  await until(bob.document, ({ view }) => view?.start_time === at(12));
  await bob.document.delete();
  await until(ann.document, (now) => now.isDeleted);
  const [question] = questions(conflicts);
  conflicts.resolve(question?.id ?? "", "theirs");
  expect(questions(conflicts)).toMatchObject([{ path: "/when", problem: expect.stringMatching(/./) }]);
  conflicts.resolve(question?.id ?? "", "mine");
  expect(questions(conflicts)).toEqual([]);
});

test("the question has the reason that either time came back with", () => {
  const [start, end] = ["/start_time", "/end_time"].map((path) => ({ id: path, path, kind: "overwrote" }));
  const told = [
    [{ ...start, problem: "No." }, end],
    [start, { ...end, problem: "No." }],
  ];
  for (const conflicts of told) {
    const document = { snapshot: { conflicts } } as unknown as SharedDocument<EventDocument>;
    expect(questions(new Conflicts(document))).toMatchObject([{ id: "/start_time", problem: "No." }]);
  }
});

test("an event that was moved again is asked about as it was moved last", async () => {
  const { ann, bob, conflicts } = await asked();
  await until(bob.document, ({ view }) => view?.start_time === at(12));
  await collide(ann, bob, 18, 21);
  const [question, ...others] = questions(conflicts);
  expect(question).toMatchObject({ base: span(12), mine: span(18), theirs: span(21) });
  expect(others).toEqual([]);
  conflicts.resolve(question?.id ?? "", "theirs");
  expect(ann.document.snapshot).toMatchObject({ conflicts: [], view: span(21) });
});

/** Bob, who has seen when Ann wants it, moves it on, with these edits. */
async function movedOn(his: (bob: Editor) => void) {
  const all = await asked();
  const { ann, bob, conflicts } = all;
  shown(conflicts);
  await until(bob.document, ({ view }) => view?.start_time === at(12));
  his(bob);
  await bob.document.saved();
  await until(ann.document, ({ version }) => version === bob.document.snapshot.version);
  return all;
}

const asWhole = (theirs: object) => ({ path: "/when", base: span(9), mine: span(12), theirs });
const ofItsEnd = (theirs?: string) => ({ path: "/end_time", base: at(10), mine: at(13), theirs });

for (const [what, his, theirs, asks] of [
  ["moved back", (bob: Editor) => bob.move(15), span(15), asWhole(span(15))],
  ["moved on", (bob: Editor) => bob.move(18), span(18), asWhole(span(18))],
  ["made longer", (bob: Editor) => bob.document.set("/end_time", at(14)), span(12, 14), ofItsEnd(at(14))],
  [
    "left without an end",
    (bob: Editor) => bob.document.remove("/end_time"),
    { start_time: at(12), end_time: null },
    ofItsEnd(),
  ],
] as const) {
  for (const side of ["mine", "theirs"] as const) {
    test(`an event that others ${what}, having seen mine, is asked about as it is: ${side}`, async () => {
      const { ann, bob, conflicts } = await movedOn(his);
      const [question, ...others] = questions(conflicts);
      expect(question).toMatchObject(asks);
      expect(others).toEqual([]);
      const { version } = ann.document.snapshot;
      conflicts.resolve(question?.id ?? "", side);
      await ann.document.saved();
      expect(ann.document.snapshot.version).toBe(version + Number(side === "mine"));
      const { start_time, end_time } = side === "mine" ? span(12) : theirs;
      await until(bob.document, ({ version }) => version === ann.document.snapshot.version);
      for (const { document } of [ann, bob]) {
        expect(document.snapshot.view?.start_time).toBe(start_time);
        expect(document.snapshot.view?.end_time ?? null).toBe(end_time);
      }
      expect(questions(conflicts)).toEqual([]);
    });
  }
}

test("who moves an event after others moved it on keeps it where it is, or has theirs of then", async () => {
  for (const [side, view] of [
    ["mine", span(20)],
    ["theirs", span(18)],
  ] as const) {
    const { ann, conflicts } = await movedOn((bob) => bob.move(18));
    ann.move(20);
    const [question] = questions(conflicts);
    expect(question).toMatchObject({ theirs: span(18) });
    conflicts.resolve(question?.id ?? "", side);
    await ann.document.saved();
    expect(ann.document.snapshot).toMatchObject({ view, conflicts: [] });
  }
});

test("an own edit that is refused, and leaves the view, answers no question", async () => {
  const { ann, bob, conflicts } = await together();
  await meanwhile(
    ann,
    bob,
    () => ann.document.set("/start_time", at(8)),
    () => bob.document.set("/start_time", at(7)),
    1,
  );
  shown(conflicts);
  await until(bob.document, ({ view }) => view?.start_time === at(8));
  await goOffline(ann.client);
  ann.document.set("/start_time", "2026-11-30T09:45:00Z");
  bob.document.set("/end_time", "2026-11-30T09:30:00Z");
  await bob.document.saved();
  ann.client.connect();
  await until(ann.document, ({ pending, view }) => !pending && view?.end_time === "2026-11-30T09:30:00Z");
  expect(ann.document.snapshot.view?.start_time).toBe(at(8));
  expect(questions(conflicts)).toMatchObject([{ path: "/start_time", mine: at(8), theirs: at(7) }]);
});

test("their end that others moved on, and that an event was moved past, goes back with their start", async () => {
  const { ann, bob, conflicts } = await together();
  await meanwhile(
    ann,
    bob,
    () => ann.document.set("/end_time", at(11)),
    () => bob.document.set("/end_time", at(12)),
    1,
  );
  shown(conflicts);
  await until(bob.document, ({ view }) => view?.end_time === at(11));
  bob.document.set("/end_time", "2026-11-30T10:30:00Z");
  await until(ann.document, ({ view }) => view?.end_time === "2026-11-30T10:30:00Z");
  ann.move(15);
  const [question] = (await until(conflicts, isWhole)).conflicts;
  expect(question).toMatchObject({ theirs: { start_time: at(9), end_time: "2026-11-30T10:30:00Z" } });
  conflicts.resolve(question?.id ?? "", "theirs");
  await ann.document.saved();
  expect(ann.document.snapshot).toMatchObject({
    view: { start_time: at(9), end_time: "2026-11-30T10:30:00Z" },
    conflicts: [],
  });
});

test("an end alone that doesn't fit by now is refused in plain words, and the question stays", async () => {
  const { ann, bob, conflicts } = await together();
  await meanwhile(
    ann,
    bob,
    () => ann.document.set("/end_time", at(11)),
    () => bob.document.set("/end_time", at(12)),
    1,
  );
  shown(conflicts);
  await until(bob.document, ({ view }) => view?.end_time === at(11));
  bob.move(15);
  await until(ann.document, ({ view }) => view?.start_time === at(15));
  const [question] = questions(conflicts);
  expect(question).toMatchObject({ path: "/end_time", mine: at(11), theirs: at(16) });
  conflicts.resolve(question?.id ?? "", "mine");
  expect(questions(conflicts)[0]?.problem).toMatch(/end can’t be before/);
  conflicts.resolve(question?.id ?? "", "theirs");
  await ann.document.saved();
  expect(ann.document.snapshot).toMatchObject({ view: span(15), conflicts: [] });
});

test("an event that both moved to one hour in the end is no question, nor is what was asked of it before", async () => {
  const { ann, bob, conflicts } = await asked();
  shown(conflicts);
  expect(questions(conflicts)).toHaveLength(1);
  await until(bob.document, ({ view }) => view?.start_time === at(12));
  await goOffline(ann.client);
  for (const hour of [21, 18]) ann.move(hour);
  bob.move(18);
  await bob.document.saved();
  ann.client.connect();
  await until(ann.document, ({ conflicts }) => !conflicts.length);
  expect(questions(conflicts)).toEqual([]);
  await ann.document.saved();
  expect(ann.document.snapshot.view).toMatchObject(span(18));
});

test("where both want one hour only for now, one is asked when they differ again", async () => {
  const { bob } = await together();
  const { wire, webSocket } = holdingSockets();
  const { document: ann } = await open("ann", bob.document.id, { environment: { webSocket } });
  const conflicts = new Conflicts(ann);
  shown(conflicts);
  wire.isHeld = true;
  ann.set("/start_time", at(7));
  bob.document.set("/start_time", at(8));
  await bob.document.saved();
  await ann.history(); // Bob's edit is here as well
  ann.set("/start_time", at(8));
  wire.goOn();
  wire.isHeld = true; // the second edit waits
  await until(ann, ({ conflicts }) => conflicts.length === 1);
  expect(questions(conflicts)).toEqual([]);
  ann.undo();
  const mine = ann.snapshot.view?.start_time as string;
  expect(mine).not.toBe(at(8));
  wire.goOn();
  await ann.saved();
  expect(questions(conflicts)).toMatchObject([{ path: "/start_time", mine, theirs: at(8) }]);
});

test("where both come to want one hour while an edit waits, nor is what was asked before asked again", async () => {
  const { bob } = await together();
  const { wire, webSocket } = holdingSockets();
  const ann = await open("ann", bob.document.id, { environment: { webSocket } });
  const conflicts = new Conflicts(ann.document);
  shown(conflicts);
  await collide(ann, bob, 12, 15);
  await until(bob.document, ({ view }) => view?.start_time === at(12));
  wire.isHeld = true;
  ann.document.set("/start_time", at(11));
  bob.document.set("/start_time", at(10));
  await bob.document.saved();
  await ann.document.history(); // Bob's edit is here as well
  ann.document.set("/start_time", at(10));
  wire.goOn();
  wire.isHeld = true; // the second edit waits
  await until(ann.document, ({ conflicts }) => conflicts.length === 3);
  expect(questions(conflicts).map(({ path }) => path)).toEqual(["/end_time"]);
  wire.goOn();
  await ann.document.saved();
  expect(questions(conflicts).map(({ path }) => path)).toEqual(["/end_time"]);
});

test("where both want one hour while an edit waits, and somebody moves it on before all is sent, nobody is asked", async () => {
  const { bob } = await together();
  const { wire, webSocket } = holdingSockets();
  const options = { environment: { webSocket }, typingIntervalMs: 1_000_000 };
  const { document: ann } = await open("ann", bob.document.id, options);
  const conflicts = new Conflicts(ann);
  shown(conflicts);
  wire.isHeld = true;
  ann.set("/start_time", at(7));
  bob.document.set("/start_time", at(8));
  await bob.document.saved();
  await ann.history(); // Bob's edit is here as well
  ann.edit([
    { op: "replace", path: "/start_time", value: at(8) },
    { op: "add", path: "/location", value: "Room 1" },
  ]);
  wire.goOn();
  wire.isHeld = true; // the second edit waits
  await until(ann, ({ conflicts }) => conflicts.length === 1);
  ann.setText("/title", "Lunch!"); // typed: it waits for more
  wire.goOn();
  await until(bob.document, ({ version }) => version === 4);
  bob.document.set("/start_time", at(6));
  await until(ann, ({ view }) => view?.start_time === at(6));
  expect(ann.snapshot).toMatchObject({ pending: 1, conflicts: [{ mine: at(8), theirs: at(8) }] });
  expect(questions(conflicts)).toEqual([]);
  ann.remove("/location"); // goes at once, with what waits
  await ann.saved();
  expect(questions(conflicts)).toEqual([]);
});

/** Ann moves an event, offline, that Bob makes longer meanwhile: up to before it begins by now. */
async function leftBehind() {
  const all = await together();
  const { ann, bob } = all;
  await meanwhile(
    ann,
    bob,
    () => ann.move(14),
    () => bob.document.set("/end_time", at(12)),
    1,
  );
  return all;
}

const isWhole = ({ conflicts: [one] }: { conflicts: readonly Conflict[] }) => one?.path === "/when";

for (const [side, result] of [
  ["mine", span(14)],
  ["theirs", span(9, 12)],
] as const) {
  test(`an event that was moved, and got another end meanwhile, is asked about as a whole: ${side}`, async () => {
    const { ann, bob, conflicts } = await leftBehind();
    const [question] = (await until(conflicts, isWhole)).conflicts;
    expect(question).toMatchObject({ base: span(9), mine: span(14), theirs: span(9, 12) });
    conflicts.resolve(question?.id ?? "", side);
    expect(questions(conflicts)).toEqual([]);
    expect(ann.document.snapshot.view).toMatchObject(result);
    await ann.document.saved();
    await until(bob.document, ({ view }) => view?.end_time === result.end_time);
    expect(bob.document.snapshot.view).toMatchObject(result);
  });
}

test("an event that is asked about as a whole, and is moved again, is mine as it is by then", async () => {
  const { ann, conflicts } = await leftBehind();
  await until(conflicts, isWhole);
  ann.move(20);
  await ann.document.saved();
  expect(questions(conflicts)).toMatchObject([{ base: span(9), mine: span(20), theirs: span(9, 12) }]);
});

test("an event that is asked about as a whole, and whose end was removed, goes back to when the others had it", async () => {
  const { ann, bob, conflicts } = await leftBehind();
  const [question] = (await until(conflicts, isWhole)).conflicts;
  await until(bob.document, ({ view }) => view?.start_time === at(14));
  bob.document.remove("/end_time");
  await until(ann.document, ({ view }) => view?.end_time === undefined);
  conflicts.resolve(question?.id ?? "", "theirs");
  expect(questions(conflicts)).toEqual([]);
  await until(bob.document, ({ view }) => view?.end_time === at(12));
  expect(bob.document.snapshot.view).toMatchObject(span(9, 12));
});

test("that an event can't go back is said until it is known where to", async () => {
  const { conflicts } = await leftBehind();
  const [question] = questions(conflicts);
  conflicts.resolve(question?.id ?? "", "theirs");
  expect(questions(conflicts)[0]?.problem).toMatch(/./);
  const [whole] = (await until(conflicts, isWhole)).conflicts;
  expect(whole?.problem).toBeUndefined();
});

test("as long as it isn't known when the others had the event their end is refused in plain words", async () => {
  const { conflicts } = await leftBehind(); // nobody looks, so nothing is looked up
  const [question] = questions(conflicts);
  expect(question).toMatchObject({ path: "/end_time", mine: at(15), theirs: at(12) });
  conflicts.resolve(question?.id ?? "", "theirs");
  expect(questions(conflicts)).toMatchObject([{ problem: "The end can’t be before the start." }]);
});

test("a merged title is no longer than its field", async () => {
  const { ann, bob, conflicts } = await together();
  await meanwhile(
    ann,
    bob,
    () => ann.document.set("/title", "A".repeat(300)),
    () => bob.document.set("/title", "B".repeat(300)),
    1,
  );
  const [question] = questions(conflicts);
  conflicts.resolve(question?.id ?? "", { value: "C".repeat(501) });
  const problem = "At most 500 characters fit into the title.";
  expect(questions(conflicts)).toMatchObject([{ problem }]);
  conflicts.resolve(question?.id ?? "", { value: "C".repeat(500) });
  expect(questions(conflicts)).toEqual([]);
  await until(bob.document, ({ view }) => view?.title === "C".repeat(500));
});

test("a merged title is one line, without what nobody sees", async () => {
  const { ann, bob, conflicts } = await together();
  await meanwhile(
    ann,
    bob,
    () => ann.document.set("/title", "Dinner"),
    () => bob.document.set("/title", "Supper"),
    1,
  );
  const [question] = questions(conflicts);
  conflicts.resolve(question?.id ?? "", { value: "Dinner\nor\u0007 \ud83csupper" });
  expect(questions(conflicts)).toEqual([]);
  await until(bob.document, ({ view }) => view?.title === "Dinner or supper");
});

/** Ann types two titles, each one edit, while Bob types two; what is asked of her. */
async function bothTyped() {
  const all = await together();
  const { ann, bob } = all;
  const type = (hers: string, his: string) =>
    meanwhile(
      ann,
      bob,
      () => ann.document.set("/title", hers),
      () => bob.document.set("/title", his),
      1,
    );
  await type("Di", "Su");
  await until(bob.document, ({ view }) => view?.title === "Di");
  await type("Dinner", "Supp");
  await until(bob.document, ({ view }) => view?.title === "Dinner");
  return { ...all, conflicts: new Conflicts(ann.document) };
}

/** Somebody listens, as a page does. */
const shown = (conflicts: Conflicts) => conflicts.subscribe(() => {});

const titleOf = ({ document }: Editor) => document.snapshot.view?.title;

for (const [answer, title] of [
  ["mine", "Dinner"],
  ["theirs", "Supp"],
  [{ value: "Dinner or supper" }, "Dinner or supper"],
] as const) {
  test(`a title that both typed in is one question, and one edit answers it: ${title}`, async () => {
    const { ann, bob, conflicts } = await bothTyped();
    const [question, ...others] = questions(conflicts);
    expect(question).toMatchObject({ base: "Lunch", mine: "Dinner", theirs: "Supp" });
    expect(others).toEqual([]);
    const { version } = ann.document.snapshot;
    conflicts.resolve(question?.id ?? "", answer);
    expect(ann.document.snapshot.conflicts).toEqual([]);
    await ann.document.saved();
    expect(ann.document.snapshot.version).toBe(version + Number(answer !== "mine"));
    await until(bob.document, ({ view }) => view?.title === title);
  });
}

for (const [answer, title] of [
  ["mine", "Dinner"],
  ["theirs", "Supper for two"],
] as const) {
  test(`of a title that others typed on in, theirs is what they wrote last: ${answer}`, async () => {
    const { ann, bob, conflicts } = await bothTyped();
    shown(conflicts);
    bob.document.set("/title", "Supper for two");
    await until(ann.document, ({ view }) => view?.title === "Supper for two");
    const [question] = questions(conflicts);
    expect(question).toMatchObject({ base: "Lunch", mine: "Dinner", theirs: "Supper for two" });
    conflicts.resolve(question?.id ?? "", answer);
    await ann.document.saved();
    await until(bob.document, ({ view }) => view?.title === title);
    expect(ann.document.snapshot).toMatchObject({ view: { title }, conflicts: [] });
  });
}

test("a title that is gone meanwhile comes back where mine is chosen", async () => {
  const { ann, bob, conflicts } = await bothTyped();
  shown(conflicts);
  bob.document.edit([{ op: "replace", path: "", value: { ...span(9) } }]);
  await until(ann.document, ({ view }) => view?.title === undefined);
  conflicts.resolve(questions(conflicts)[0]?.id ?? "", "mine");
  await ann.document.saved();
  expect(ann.document.snapshot).toMatchObject({ view: { title: "Dinner" }, conflicts: [] });
});

test("of a title that one typed on in, mine is what one wrote last", async () => {
  const { ann, bob, conflicts } = await bothTyped();
  shown(conflicts);
  ann.document.set("/title", "Dinner, at last");
  const [question] = questions(conflicts);
  expect(question).toMatchObject({ base: "Lunch", mine: "Dinner, at last", theirs: "Supp" });
  conflicts.resolve(question?.id ?? "", "mine");
  await ann.document.saved();
  await until(bob.document, ({ view }) => view?.title === "Dinner, at last");
});

test("where the others have come to want the same title nobody is asked any more", async () => {
  const { ann, bob, conflicts } = await bothTyped();
  shown(conflicts);
  bob.document.set("/title", "Supper");
  await until(ann.document, ({ view }) => view?.title === "Supper");
  bob.document.set("/title", "Dinner");
  await until(ann.document, ({ conflicts }) => !conflicts.length);
  expect(titleOf(ann)).toBe("Dinner");
});

test("what was asked of a title and is answered doesn't come back after a reload", async () => {
  const { bob } = await together();
  const store = memoryStore();
  const client = people.client("ann", { store });
  const ann = { ...bob, client, document: client.open<EventDocument>("event", bob.document.id) };
  await ann.document.ready();
  const conflicts = new Conflicts(ann.document);
  for (const [hers, his] of [
    ["Di", "Su"],
    ["Dinner", "Supper"],
  ] as const) {
    await meanwhile(
      ann,
      bob,
      () => ann.document.set("/title", hers),
      () => bob.document.set("/title", his),
      1,
    );
    await until(bob.document, ({ view }) => view?.title === hers);
  }
  conflicts.resolve(questions(conflicts)[0]?.id ?? "", "theirs");
  await ann.document.saved();
  await client.close();
  const again = people.client("ann", { store }).open<EventDocument>("event", bob.document.id);
  await until(again, ({ isLive }) => isLive);
  expect(again.snapshot).toMatchObject({ conflicts: [], view: { title: "Supper" } });
});

test("a title that waits for an answer, and a location, are questions of their own", () => {
  const one = { path: "/title", mine: "A", theirs: "B" };
  const asked = [
    { ...one, id: "1", kind: "overwrote" },
    { ...one, id: "2", kind: "refused" },
    { ...one, id: "3", kind: "overwrote", path: "/location" },
    { ...one, id: "4", kind: "overwrote", path: "" },
    { ...one, id: "5", kind: "merged" },
  ].map((conflict) => ({ ...conflict, omitted: [] }));
  const document = { snapshot: { conflicts: asked, view: null } } as unknown as SharedDocument<EventDocument>;
  expect(questions(new Conflicts(document)).map(({ id }) => id)).toEqual(["1", "2", "3", "4"]);
});

const typing = (event: SharedDocument<EventDocument>) => {
  event.setText("/title", "Lunch w");
  event.setText("/title", "Lunch with Kim");
};

/** Bob deletes the event while Ann's first edit is on its way, and the others wait for it; what is asked of her. */
async function deletedWhile(hers: (event: SharedDocument<EventDocument>) => void) {
  const { bob } = await together();
  bob.document.set("/location", "Room 1");
  await bob.document.saved();
  const { slow, goOn } = gatedWrites(`doc/event:${bob.document.id}`, '"flying":1');
  const client = people.client("ann", { store: slow(memoryStore()) });
  const document = client.open<EventDocument>("event", bob.document.id);
  await document.ready();
  const conflicts = new Conflicts(document);
  hers(document);
  await bob.document.delete();
  await until(conflicts, ({ conflicts }) => conflicts.length > 0);
  goOn();
  const [question] = questions(conflicts) as readonly [Conflict];
  return { bob, document, conflicts, question };
}

test("what was typed while somebody deleted the event brings it back", async () => {
  const { bob, conflicts, question } = await deletedWhile(typing);
  expect(question).toMatchObject({ path: "", mine: { title: "Lunch with Kim" }, theirs: null });
  conflicts.resolve(question.id, "mine");
  await until(bob.document, ({ view }) => view?.title === "Lunch with Kim");
  expect(questions(conflicts)).toEqual([]);
});

test("where the event is there again what was typed goes into it, and nobody that was invited since is lost", async () => {
  const { bob, document, conflicts, question } = await deletedWhile(typing);
  await document.saved(); // what was on its way meets the deletion, not what is there again
  bob.document.undo();
  const dan = { user_id: "dan", response_status: "NEEDS_ACTION" } as const;
  bob.document.set("/attendees", [dan]);
  bob.document.set("/title", "Dinner");
  await until(document, ({ view }) => view?.title === "Dinner");
  expect(questions(conflicts)).toMatchObject([
    { mine: { title: "Lunch with Kim" }, theirs: { title: "Dinner" } },
  ]);
  conflicts.resolve(question.id, "mine");
  expect(questions(conflicts)).toEqual([]);
  expect(document.snapshot.view).toEqual({
    ...span(9),
    title: "Lunch with Kim",
    location: "Room 1",
    attendees: [dan],
  });
});

test("what goes into the event that is there again is one edit, with what was removed, and can be undone", async () => {
  const { bob, document, conflicts, question } = await deletedWhile((event) => {
    typing(event);
    event.remove("/location");
  });
  bob.document.undo();
  bob.document.set("/location", "Room 2");
  bob.document.set("/title", "Dinner");
  await until(document, ({ view }) => view?.title === "Dinner");
  conflicts.resolve(question.id, "mine");
  expect(document.snapshot.view).toEqual({ ...span(9), title: "Lunch with Kim" });
  document.undo();
  expect(document.snapshot.view).toEqual({ ...span(9), title: "Dinner", location: "Room 2" });
});

const past9 = (minutes: number) => at(9).replace("00:00Z", `${minutes}:00Z`);

test.each([
  ["both moved the start of", at(8), span(6, 7), span(8, 10)],
  [
    "one moved the start and others the end of",
    past9(45),
    { start_time: at(9), end_time: past9(30) },
    { start_time: past9(45), end_time: at(10) },
  ],
])(
  "an event doesn't end before it starts, where it is there again: %s it",
  async (_, start, theirs, mine) => {
    const { bob, document, conflicts, question } = await deletedWhile((event) => {
      event.set("/title", "Lunch with Kim");
      event.edit([{ op: "replace", path: "/start_time", value: start }]);
    });
    bob.document.undo();
    bob.document.edit([
      { op: "replace", path: "/start_time", value: theirs.start_time },
      { op: "replace", path: "/end_time", value: theirs.end_time },
      { op: "replace", path: "/location", value: "Room 2" },
    ]);
    await until(document, ({ view }) => view?.location === "Room 2");
    conflicts.resolve(question.id, "mine");
    await document.saved();
    expect(document.snapshot.view).toEqual({ ...mine, title: "Lunch with Kim", location: "Room 2" });
  },
);

test("who wants the event as it is there again leaves it so", async () => {
  const { bob, document, conflicts, question } = await deletedWhile(typing);
  bob.document.undo();
  await until(document, ({ view }) => view !== null);
  const { view } = document.snapshot;
  conflicts.resolve(question.id, "theirs");
  expect(document.snapshot).toMatchObject({ view, conflicts: [] });
});
