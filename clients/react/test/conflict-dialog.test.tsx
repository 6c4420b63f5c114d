/** The conflict's dialog, for conflicts on a real gateway. */

import "./support/screen.js";
import { type Conflict, memoryStore, type SharedDocument } from "@collab/client";
import { ConflictDialog, type ConflictDialogProps } from "@collab/react";
import { act, cleanup, configure, render, screen, waitFor } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { afterEach, expect, test } from "vitest";
import { type Event, People } from "../../client/test/support/people.js";
import { gatedWrites } from "../../client/test/support/tabs.js";
import { until } from "../../client/test/support/until.js";
import { translate } from "./support/translated.js";

const people = new People();

afterEach(cleanup);
configure({ asyncUtilTimeout: 100_000 });

type Path = "/title" | "/start_time";

/** Ann wrote something while Ben, offline, wrote something else there; he is back. */
async function clash(path: Path, before: string, bens: string, anns: string) {
  const { document: ann } = await people.event("ann", { title: "Sync", [path.slice(1)]: before });
  const { client, document: ben } = await people.join("ben", ann.id);
  client.disconnect();
  await until(client.connection, (now) => now.isPaused);
  ben.set(path, bens);
  ann.set(path, anns);
  await ann.saved();
  client.connect();
  await until(ben, (now) => now.conflicts.length > 0);
  return { ann, ben };
}

function shows(document: SharedDocument<Event>, props: Partial<ConflictDialogProps<Event>> = {}) {
  render(<ConflictDialog document={document} {...props} />);
  return Object.fromEntries(
    screen
      .getAllByRole("term", { hidden: true })
      .map(({ textContent, nextSibling }) => [textContent, nextSibling?.textContent]),
  );
}

const button = (name: string) => screen.getByRole("button", { name, hidden: true });
const dialog = () => screen.queryByRole("dialog", { hidden: true });
const start = (hour: string) => `2026-11-30T${hour}:00:00Z`;

test("what is too long to be told is said to be, and isn't nothing", async () => {
  const { ben } = await clash("/title", "Sync", "Ben's", "A".repeat(5_000));
  expect(shows(ben)).toEqual({ Mine: "Ben's", Theirs: "too long to show here", Before: "Sync" });
});

const labelOf = () => "the event";

test("who typed while somebody deleted the document is told who deleted it", async () => {
  const { document: ann } = await people.event("ann", { title: "Sync" });
  const { slow, goOn } = gatedWrites(`doc/event:${ann.id}`, '"flying":1');
  const ben = people.client("ben", { store: slow(memoryStore()) }).open<Event>("event", ann.id);
  await ben.ready();
  ben.set("/title", "Sync at nine");
  await ann.delete();
  await until(ben, (now) => now.conflicts.length > 0);
  goOn();
  shows(ben, { labelOf });
  expect(dialog()?.textContent).toMatch(/^ann deleted the event\./);
});

test("who deleted a document is told that somebody changed it", async () => {
  const { document: ann } = await people.event("ann", { title: "Sync" });
  const { client, document: ben } = await people.join("ben", ann.id);
  client.disconnect();
  await until(client.connection, (now) => now.isPaused);
  const deleted = ben.delete();
  ann.set("/title", "Ann's");
  await ann.saved();
  client.connect();
  await deleted;
  shows(ben, { labelOf });
  expect(dialog()?.textContent).toMatch(/^ann changed the event too at /);
});

test("in a page that the browser has translated it says what the others did by now", async () => {
  const { document: ann } = await people.event("ann", { title: "Sync" });
  const { client, document: ben } = await people.join("ben", ann.id);
  client.disconnect();
  await until(client.connection, (now) => now.isPaused);
  ben.set("/title", "Ben's");
  await ann.delete();
  client.connect();
  const { conflicts } = await until(ben, (now) => now.conflicts.length > 0);
  const [conflict] = conflicts as readonly [Conflict];
  const { rerender } = render(<ConflictDialog document={ben} labelOf={labelOf} />);
  expect(dialog()?.textContent).toMatch(/^ann deleted the event at /);
  translate(dialog() as HTMLElement);
  const back = { ...ben.snapshot, conflicts: [{ ...conflict, theirs: { title: "Sync" } }] };
  const now = { snapshot: back, subscribe: () => () => {}, resolve: () => {} };
  rerender(<ConflictDialog document={now} labelOf={labelOf} />);
  expect(dialog()?.textContent).toMatch(/^ann changed the event too at /);
});

test("no button has the focus, so that a key that was meant for a text gives no answer", async () => {
  const { ben } = await clash("/title", "Sync", "Ben's", "Ann's");
  shows(ben, { suggest: () => undefined });
  expect(document.activeElement).toBe(dialog());
});

test("values are shown as the application shows them, and where it suggests none there is no merge", async () => {
  const { ann, ben } = await clash("/start_time", start("09"), start("10"), start("11"));
  const shown = (path: string, value: unknown) => `${path} at ${String(value).slice(11, 13)}`;
  const timeOf = (time: Date) => `${time.getFullYear() > 2000 ? "noon" : "never"}`;
  const texts = shows(ben, { shown, timeOf, suggest: () => undefined });
  expect(dialog()?.textContent).toMatch(/ too at noon\./);
  expect(texts).toEqual({
    Mine: "/start_time at 10",
    Theirs: "/start_time at 11",
    Before: "/start_time at 09",
  });
  expect(screen.queryByRole("textbox", { hidden: true })).toBeNull();
  expect(screen.getAllByRole("button", { hidden: true })).toHaveLength(2);
  act(() => button("Keep theirs").click());
  expect(dialog()).toBeNull();
  await act(() => until(ann, (now) => now.view?.start_time === start("11")));
});

test("the merge begins with what was suggested last, until one writes in it", async () => {
  const { ben } = await clash("/title", "Sync", "Sync with Kim", "Sync, or");
  const { rerender } = render(<ConflictDialog document={ben} suggest={() => "Sync, or / Sync with Kim"} />);
  const editor = screen.getByRole<HTMLTextAreaElement>("textbox", { hidden: true });
  rerender(<ConflictDialog document={ben} suggest={() => "Sync, or call / Sync with Kim"} />);
  expect(editor.value).toBe("Sync, or call / Sync with Kim");
  const user = userEvent.setup();
  await user.clear(editor);
  await user.type(editor, "Call Kim");
  rerender(<ConflictDialog document={ben} suggest={() => "Sync, or call her / Sync with Kim"} />);
  expect(editor.value).toBe("Call Kim");
});

test("a merge that is refused asks again", async () => {
  const { ann, ben } = await clash("/start_time", start("09"), start("10"), start("11"));
  shows(ben);
  const user = userEvent.setup();
  const editor = screen.getByRole("textbox", { hidden: true });
  await user.clear(editor);
  await user.type(editor, "tomorrow");
  act(() => button("Merge").click());
  expect(dialog()).toBeNull();
  await waitFor(() => expect(dialog()).not.toBeNull());
  expect(screen.getByRole("alert", { hidden: true }).textContent).toMatch(/./); // why
  act(() => button("Keep mine").click());
  expect(dialog()).toBeNull();
  await act(() => until(ann, (now) => now.view?.start_time === start("10")));
});

test("why an answer can't be written is said in the dialog, which leaves the other", async () => {
  const { document: ann } = await people.event("ann", {
    attendees: [{ user_id: "ann" }, { user_id: "ben" }],
  });
  const { client, document: ben } = await people.join("ben", ann.id);
  client.disconnect();
  await until(client.connection, (now) => now.isPaused);
  ben.set("/attendees/1/response_status", "ACCEPTED");
  ann.remove("/attendees/1");
  await ann.saved();
  client.connect();
  await until(ben, (now) => now.conflicts.length > 0);
  shows(ben);
  expect(screen.queryByRole("alert", { hidden: true })).toBeNull();
  act(() => button("Keep mine").click());
  const alert = screen.getByRole("alert", { hidden: true });
  expect(alert.textContent).toMatch(/is gone\. Choose the other side/);
  expect(dialog()?.contains(alert)).toBe(true);
  act(() => button("Keep theirs").click());
  expect(dialog()).toBeNull();
});
