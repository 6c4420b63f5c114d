/** Random days of one user in two tabs and of another one: whatever they do, all end with one document. */

import { type Client, EditError, type SharedDocument } from "@collab/client";
import { expect, test, vi } from "vitest";
import { generator } from "./faults/random.js";
import { type Event, People } from "./support/people.js";
import { Origin } from "./support/tabs.js";

const people = new People();
// Node has Web Locks from version 24 on.
const hasLocks = "locks" in (globalThis.navigator ?? {});
const EDITS = 150;
const NEW: Event = { title: "", description: "", tags: [], attendees: [] };

type Pick = (count: number) => number;

class Writer {
  isOffline = false;

  constructor(
    readonly client: Client,
    readonly document: SharedDocument<Event>,
    private readonly pick: Pick,
  ) {}

  /** Something that a user may do; nothing where it can't be done now. */
  act(word: string): void {
    const { document, pick } = this;
    const { view, conflicts } = document.snapshot;
    const acts = [
      () => this.#type(view?.description ?? "", `${word} `),
      () => document.set("/title", word),
      () => document.set("/location", word),
      () => document.edit({ op: "add", path: "/tags/-", value: `tag ${pick(6)}` }),
      () => document.remove(`/tags/${pick(view?.tags?.length ?? 0)}`),
      () => document.edit({ op: "add", path: "/attendees/0", value: { user_id: `user ${pick(5)}` } }),
      () => document.remove(`/attendees/${pick(view?.attendees?.length ?? 0)}`),
      () => document.undo(),
      () => document.redo(),
      () => this.#toggle(),
      () => pick(4) || document.set("", null as never),
      () => conflicts[0] && document.resolve(conflicts[0].id, pick(2) ? "mine" : "theirs"),
    ];
    try {
      if (view) acts[pick(acts.length)]?.();
      else document.create({ ...NEW, title: word });
    } catch (error) {
      if (!(error instanceof EditError)) throw error;
    }
  }

  #type(text: string, word: string): void {
    const [at, gone] = [this.pick(text.length + 1), this.pick(5)];
    this.document.setText("/description", text.slice(0, at) + word + text.slice(at + gone));
  }

  #toggle(): void {
    this.isOffline = !this.isOffline;
    if (this.isOffline) this.client.disconnect();
    else this.client.connect();
  }

  /** What is asked is answered, with what can be written. */
  answer(): void {
    const [first] = this.document.snapshot.conflicts;
    if (first) this.document.resolve(first.id, first.problem ? "theirs" : "mine");
  }
}

test.skipIf(!hasLocks && !process.env.CI).each([
  [1, "merge"],
  [2, "ask"],
  [3, "merge"],
  [4, "ask"],
] as const)("the day of seed %i, who are to %s", async (seed, onConflict) => {
  const random = generator(seed);
  const pick: Pick = (count) => Math.floor(random() * count);
  const origin = new Origin(people);
  const { document } = await people.event("maker", NEW);
  const writers: Writer[] = [];
  for (const client of [origin.tab(), origin.tab(), people.client("ben")]) {
    const mine = client.open<Event>("event", document.id, { onConflict });
    await mine.ready();
    writers.push(new Writer(client, mine, pick));
  }
  for (let edit = 0; edit < EDITS; edit++) {
    writers[pick(writers.length)]?.act(`word ${edit}`);
    if (pick(2)) await new Promise((done) => setTimeout(done, pick(30)));
  }
  for (const { client } of writers) client.connect();
  await vi.waitFor(
    () => {
      for (const writer of writers) writer.answer();
      const [first, ...others] = [document, ...writers.map((writer) => writer.document)].map(endOf);
      expect(first).toMatchObject({ pending: 0, conflicts: [], isLive: true });
      for (const other of others) expect(other).toEqual(first);
    },
    { timeout: 100_000 },
  );
});

const endOf = ({ snapshot: { view, version, pending, conflicts, isLive } }: SharedDocument<Event>) => ({
  view,
  version,
  pending,
  conflicts,
  isLive,
});
