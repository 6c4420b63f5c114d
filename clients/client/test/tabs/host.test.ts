/** What a leading tab tells of calendars that it can't list. */

import type { Problem } from "@collab/client";
import { expect, test, vi } from "vitest";
import { Listeners } from "../../src/cell.js";
import type { DocumentContext, Sender } from "../../src/documents/context.js";
import { Document } from "../../src/documents/document.js";
import { Registry } from "../../src/registry.js";
import { onTold } from "../../src/tabs/follower.js";
import { TabHost } from "../../src/tabs/host.js";
import type { Note } from "../../src/tabs/notes.js";

/** What a tab has open, and what its user is told. */
function tabOf(link: Sender | null) {
  const problems = new Listeners<[Problem]>();
  const told: object[] = [];
  problems.add(({ code, type, id }) => told.push({ code, type, id }));
  const onProblem = (problem: Problem) => problems.tell(problem);
  const nothing = { nudge: () => {}, strategies: () => ({}), environment: {} };
  const context = { link: () => link, onProblem, ...nothing } as unknown as DocumentContext;
  return { registry: new Registry(context, async () => {}), context, problems, told };
}

test("where a leading tab can't load the part for calendars, each tab that has one open is told", async () => {
  const said: Note[] = []; // by the tabs that follow, which have that part
  const followers = ["one", "two"].map((tab) => {
    const send: Sender["send"] = (type, payload, id = "") => {
      said.push({ kind: "say", leader: "leader", tab, type, id, payload });
      return id;
    };
    return { tab, ...tabOf({ send, features: ["children"], limits: {} }) };
  });
  for (const { registry } of followers) registry.calendar("team");
  await vi.waitFor(() => expect(said).toHaveLength(2), 100_000);
  vi.resetModules();
  vi.doMock("../../src/listings.js", () => {
    throw new TypeError("Failed to fetch dynamically imported module");
  });
  const leader = tabOf(null);
  const post = (note: Note) => {
    if (note.kind !== "tell") return;
    for (const { tab, registry } of followers) if (tab === note.tab) onTold(registry, note.message);
  };
  const gone = () => new Promise<void>(() => {});
  const client = { onProblem: (listener: (problem: Problem) => void) => leader.problems.add(listener) };
  const host = new TabHost("leader", leader.registry, post, gone, 1, client);
  const problem = { code: "ERROR", type: "calendar", id: "team" };
  for (const [index, note] of said.entries()) {
    host.onSay(note as Note & { kind: "say" });
    await vi.waitFor(() => expect(followers[index]?.told).toEqual([problem]), 100_000);
  }
  vi.doUnmock("../../src/listings.js");
});

test("that a document of the same name fails says nothing of a calendar in other tabs", () => {
  const told: string[] = [];
  const leader = tabOf(null);
  const post = (note: Note) => {
    if (note.kind === "tell") told.push(note.message.type);
  };
  const gone = () => new Promise<void>(() => {});
  const client = { onProblem: (listener: (problem: Problem) => void) => leader.problems.add(listener) };
  const host = new TabHost("leader", leader.registry, post, gone, 1, client);
  const payload = { resource_type: "calendar", resource_id: "team", children: true };
  host.onSay({ kind: "say", leader: "leader", tab: "one", type: "SUBSCRIBE", id: "", payload });
  const { state } = new Document("calendar", "team", leader.context, () => {});
  state.tell("ERROR", { code: "TOO_LARGE", message: "It is too long." });
  expect(leader.told).toMatchObject([{ code: "ERROR", type: "calendar", id: "team" }]);
  expect(told).toEqual([]);
});
