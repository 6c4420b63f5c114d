/** An event's conflicts as people decide them, on a real gateway. */

import type { SharedDocument } from "@collab/client";
import { expect, test } from "vitest";
import { People } from "../../client/test/support/people.js";
import { goOffline, until } from "../../client/test/support/until.js";
import { Conflicts } from "../src/conflicts.js";
import type { EventDocument } from "../src/event.js";

const people = new People();

const at = (hour: number) => `2026-11-30T${String(hour).padStart(2, "0")}:00:00Z`;
const span = (from: number, to = from + 1) => ({ start_time: at(from), end_time: at(to) });

async function open(user: string, id: string) {
  const client = people.client(user);
  const document = client.open<EventDocument>("event", id);
  await document.ready();
  const move = (from: number) =>
    document.edit([
      { op: "replace", path: "/start_time", value: at(from) },
      { op: "replace", path: "/end_time", value: at(from + 1) },
    ]);
  return { client, document, move };
}

/** Ann moves an event, offline, that Bob moves meanwhile; what is asked of her. */
async function asked() {
  const id = people.newId();
  const bob = await open("bob", id);
  bob.document.create({ title: "Lunch", ...span(9) });
  await bob.document.saved();
  const ann = await open("ann", id);
  await collide(ann, bob, 12, 15);
  return { ann, bob, conflicts: new Conflicts(ann.document) };
}

type Mover = Awaited<ReturnType<typeof open>>;

async function collide(ann: Mover, bob: Mover, mine: number, theirs: number) {
  const before = ann.document.snapshot.conflicts.length;
  await goOffline(ann.client);
  ann.move(mine);
  bob.move(theirs);
  await bob.document.saved();
  ann.client.connect();
  await until(ann.document, (now) => now.conflicts.length === before + 2);
  await ann.document.saved();
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
