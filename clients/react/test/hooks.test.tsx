// @vitest-environment jsdom
/** The hooks and components on a real client that works offline, so that nothing but the screen is looked at. */

import {
  type Client,
  createClient,
  type Json,
  type Presence,
  type SharedDocument,
  type ViewChange,
} from "@collab/client";
import {
  ConflictDialog,
  ConnectionBadge,
  GatewayProvider,
  PresenceIndicators,
  retyped,
  useCalendar,
  useField,
  useRealtimeEvent,
  useSyncStatus,
  useTextField,
} from "@collab/react";
import {
  act,
  cleanup,
  configure,
  fireEvent,
  render,
  renderHook,
  screen,
  waitFor,
} from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { type ReactNode, StrictMode } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { translate } from "./support/translated.js";

interface Event {
  title: string;
  description: string;
}

let client: Client;

const url = "ws://127.0.0.1:9/realtime";
const environment = { locks: null, channel: null, now: () => 0 }; // what is typed in a test is one burst

configure({ asyncUtilTimeout: 100_000 });

beforeEach(() => {
  client = createClient({ url, getToken: () => "", connect: false, environment });
});

afterEach(async () => {
  cleanup();
  await client.close();
});

const wrapper = ({ children }: { children: ReactNode }) => (
  <StrictMode>
    <GatewayProvider client={client}>{children}</GatewayProvider>
  </StrictMode>
);

async function made(id: string, event: Event): Promise<SharedDocument<Event>> {
  const document = client.open<Event>("event", id);
  document.create(event);
  await document.ready();
  return document;
}

test("a hook shows a document and follows its edits, under StrictMode", async () => {
  const document = await made("1", { title: "Lunch", description: "" });
  const { result } = renderHook(() => useRealtimeEvent<Event>("1"), { wrapper });
  expect(result.current.view?.title).toBe("Lunch");
  act(() => document.set("/title", "Dinner"));
  expect(result.current.view?.title).toBe("Dinner");
  expect(result.current.document).toBe(document);
});

test("each opening has its closing, under StrictMode too", async () => {
  const document = await made("1", { title: "Lunch", description: "" });
  const [opened, closed] = [vi.spyOn(client, "open"), vi.spyOn(document, "close")];
  const { unmount } = renderHook(() => useRealtimeEvent("1"), { wrapper });
  expect(opened.mock.calls.length).toBe(closed.mock.calls.length + 1);
  unmount();
  expect(opened.mock.calls.length).toBe(closed.mock.calls.length);
});

test("another id is another document, and never shows the one before", async () => {
  await made("1", { title: "One", description: "" });
  await made("2", { title: "Two", description: "" });
  const seen: [string, string | undefined][] = [];
  const { rerender } = renderHook(
    ({ id }) => {
      const { view } = useRealtimeEvent<Event>(id);
      seen.push([id, view?.title]);
    },
    { wrapper, initialProps: { id: "1" } },
  );
  rerender({ id: "2" });
  expect(seen).toContainEqual(["2", "Two"]);
  expect(seen).not.toContainEqual(["2", "One"]);
});

test("a field renders again only when its own value changes", async () => {
  const document = await made("1", { title: "Lunch", description: "" });
  let renders = 0;
  const { result } = renderHook(
    () => {
      renders++;
      return useField<string>(document, "/title");
    },
    { wrapper },
  );
  const before = renders;
  act(() => document.set("/description", "Cake"));
  expect(renders).toBe(before);
  act(() => result.current[1]("Dinner"));
  expect(result.current[0]).toBe("Dinner");
});

function Field({ document }: { document: SharedDocument<Event> | null }) {
  return (
    <textarea aria-label="Text" {...useTextField<HTMLTextAreaElement, Event>(document, "/description")} />
  );
}

function shown(document: SharedDocument<Event>): HTMLTextAreaElement {
  render(<Field document={document} />, { wrapper });
  return screen.getByRole("textbox", { name: "Text" });
}

test("what is typed is edited, and the caret stays where it was", async () => {
  const document = await made("1", { title: "", description: "Bring cake" });
  const field = shown(document);
  const user = userEvent.setup();
  await user.click(field);
  field.setSelectionRange(5, 5);
  await user.keyboard(" me");
  expect(document.snapshot.view?.description).toBe("Bring me cake");
  expect(field.selectionStart).toBe(8);
});

/** What others do to it, as the document tells it. */
function told(document: SharedDocument<Event>): (change: Partial<ViewChange>) => void {
  const listeners: ((change: ViewChange) => void)[] = [];
  vi.spyOn(document, "onChange").mockImplementation((listener) => {
    listeners.push(listener);
    return () => {};
  });
  const view = document.snapshot.view as unknown as Json;
  const nothing: ViewChange = { before: view, after: view, origin: "remote", carry: (_, offset) => offset };
  return (change) => {
    for (const listener of listeners) listener({ ...nothing, ...change });
  };
}

test("what another types and takes back at once doesn't move the caret of who types next", async () => {
  const document = await made("1", { title: "", description: "" });
  const tell = told(document);
  const field = shown(document);
  const user = userEvent.setup();
  await user.click(field);
  const [without, withX] = [document.snapshot.view, { title: "", description: "X" }] as unknown as [
    Json,
    Json,
  ];
  tell({ after: withX });
  tell({ before: withX, after: without });
  await user.keyboard("ab");
  expect(field.value).toBe("ab");
});

test("what others write while another window has the focus leaves the caret where it was", async () => {
  const document = await made("1", { title: "", description: "Bring cake" });
  const tell = told(document);
  const field = shown(document);
  field.focus();
  field.setSelectionRange(5, 5);
  vi.spyOn(field, "matches").mockImplementation((selector) => selector !== ":focus"); // what a browser says then
  tell({ after: { title: "", description: "1. Bring cake" }, carry: (_, offset) => offset + 3 });
  act(() => document.setText("/description", "1. Bring cake"));
  expect(field.value).toBe("1. Bring cake");
  expect(field.selectionStart).toBe(8);
});

test("what is taken back, or done by other means than the field's, leaves the caret where it was", async () => {
  const document = await made("1", { title: "", description: "Bring cake" });
  const field = shown(document);
  const user = userEvent.setup();
  await user.click(field);
  field.setSelectionRange(0, 0);
  await user.keyboard("1. ");
  field.setSelectionRange(8, 8);
  act(() => document.undo());
  expect(field.value).toBe("Bring cake");
  expect(field.selectionStart).toBe(5);
  act(() => document.setText("/description", "Please bring cake"));
  expect(field.selectionStart).toBe(12);
});

test("nothing can be typed while it loads, or when it was deleted", async () => {
  const document = client.open<Event>("event", "1");
  const field = shown(document);
  const errors: unknown[] = [];
  const note = (event: ErrorEvent) => {
    event.preventDefault();
    errors.push(event.error);
  };
  window.addEventListener("error", note);
  const type = () => fireEvent.change(field, { target: { value: "Bring cake" } });
  expect(field.readOnly).toBe(true);
  type();
  act(() => document.create({ title: "", description: "" }));
  expect(field.readOnly).toBe(false);
  type();
  expect(field.value).toBe("Bring cake");
  act(() => document.edit({ op: "replace", path: "", value: null }));
  expect(field.readOnly).toBe(true);
  type();
  expect(field.value).toBe("");
  window.removeEventListener("error", note);
  expect(errors).toEqual([]);
});

test("what others change elsewhere doesn't hold the caret back", async () => {
  const document = await made("1", { title: "", description: "Bring cake" });
  const tell = told(document);
  const field = shown(document);
  const user = userEvent.setup();
  await user.click(field);
  field.setSelectionRange(5, 5);
  tell({ after: { ...document.snapshot.view, title: "Lunch" } as unknown as Json });
  await user.keyboard(" me");
  expect(field.value).toBe("Bring me cake");
  expect(field.selectionStart).toBe(8);
});

test("a field that goes while it has the focus tells that nobody is at it any more", async () => {
  const document = await made("1", { title: "", description: "ab" });
  const { unmount } = render(<Field document={document} />, { wrapper });
  act(() => screen.getByRole("textbox", { name: "Text" }).focus());
  const told = vi.spyOn(document.presence, "setCursor");
  unmount();
  expect(told).toHaveBeenLastCalledWith(null);
});

test("a field that has the focus when its document comes tells that somebody is at it", async () => {
  const document = await made("1", { title: "", description: "ab" });
  const told = vi.spyOn(document.presence, "setCursor");
  const { rerender } = render(<Field document={null} />, { wrapper });
  act(() => screen.getByRole("textbox", { name: "Text" }).focus());
  rerender(<Field document={document} />);
  expect(told).toHaveBeenLastCalledWith(expect.objectContaining({ field: "description" }));
});

test("a composed text is one edit, put where it belongs when it is done", async () => {
  const document = await made("1", { title: "", description: "ab" });
  const field = shown(document);
  fireEvent.compositionStart(field);
  fireEvent.change(field, { target: { value: "aにb" } });
  expect(document.snapshot.view?.description).toBe("ab");
  fireEvent.compositionEnd(field);
  expect(document.snapshot.view?.description).toBe("aにb");
});

test("what is composed when its field goes is written, and when the page does", async () => {
  const document = await made("1", { title: "", description: "ab" });
  const { unmount } = render(<Field document={document} />, { wrapper });
  const field = screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Text" });
  const typing = vi.spyOn(document.presence, "setTyping");
  fireEvent.compositionStart(field);
  fireEvent.change(field, { target: { value: "aにb" } });
  expect(typing).toHaveBeenCalledWith(true);
  act(() => document.setText("/description", "ab!"));
  fireEvent(window, new Event("pagehide"));
  expect(document.snapshot.view?.description).toBe("aにb!");
  fireEvent.compositionStart(field);
  fireEvent.change(field, { target: { value: "aにほb!" } });
  unmount();
  expect(document.snapshot.view?.description).toBe("aにほb!");
});

function Sometimes({ document, isThere }: { document: SharedDocument<Event>; isThere: boolean }) {
  const field = useTextField<HTMLTextAreaElement, Event>(document, "/description");
  return isThere ? <textarea aria-label="Text" {...field} /> : null;
}

test("what was composed in a field that is gone already is left", async () => {
  const document = await made("1", { title: "", description: "ab" });
  const { rerender, unmount } = render(<Sometimes document={document} isThere />, { wrapper });
  const field = screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Text" });
  fireEvent.compositionStart(field);
  fireEvent.change(field, { target: { value: "aにb" } });
  rerender(<Sometimes document={document} isThere={false} />);
  unmount();
  expect(document.snapshot.view?.description).toBe("ab");
});

test("what is typed is written though the field went while something was composed in it, and came back", async () => {
  const document = await made("1", { title: "", description: "ab" });
  const { rerender } = render(<Sometimes document={document} isThere />, { wrapper });
  const field = () => screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Text" });
  fireEvent.compositionStart(field());
  fireEvent.change(field(), { target: { value: "aにb" } });
  rerender(<Sometimes document={document} isThere={false} />);
  act(() => document.setText("/description", "Hi ab"));
  rerender(<Sometimes document={document} isThere />);
  fireEvent.change(field(), { target: { value: "aにbc" } });
  expect(document.snapshot.view?.description).toBe("Hi aにbc");
  fireEvent.change(field(), { target: { value: "Hi aにbcd" } });
  expect(document.snapshot.view?.description).toBe("Hi aにbcd");
});

function Unreferred({ document }: { document: SharedDocument<Event> }) {
  const { ref: _, ...field } = useTextField<HTMLTextAreaElement, Event>(document, "/description");
  return <textarea aria-label="Text" {...field} />;
}

test("a field that has no ref composes too", async () => {
  const document = await made("1", { title: "", description: "ab" });
  render(<Unreferred document={document} />, { wrapper });
  const field = screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Text" });
  fireEvent.compositionStart(field);
  fireEvent.change(field, { target: { value: "aにb" } });
  fireEvent.compositionEnd(field);
  expect(document.snapshot.view?.description).toBe("aにb");
  fireEvent.change(field, { target: { value: "aにbc" } });
  expect(document.snapshot.view?.description).toBe("aにbc");
});

test("a character that is composed over one with the same first half is whole, wherever it is by now", async () => {
  const document = await made("1", { title: "", description: "😀" });
  const field = shown(document);
  fireEvent.compositionStart(field);
  act(() => document.setText("/description", "Hi 😀"));
  fireEvent.change(field, { target: { value: "😁" } });
  fireEvent.compositionEnd(field);
  expect(document.snapshot.view?.description).toBe("Hi 😁");
});

test.each([
  ["a😀", "a😁", 3, 1, 0], // D83D DE00, D83D DE01
  ["😀b", "🈀b", 0, 0, 1], // D83D DE00, D83C DE00
  ["a😀b", "a😀😀b", 5, 3, 1],
  ["a😀b", "a😀😀b", 3, 1, 3],
])("no character is cut in halves where %s becomes %s", (text, typed, caret, start, tail) => {
  expect(retyped({ text, changes: [] }, "", typed, caret, text)).toMatchObject({ text: typed, start, tail });
});

function Whole({ document, type }: { document: SharedDocument<Event>; type?: string }) {
  const field = useTextField<HTMLInputElement, Event>(document, "/title", { whole: true });
  return <input aria-label="Title" type={type} {...field} />;
}

test("a composition that is given up edits nothing, and doesn't hold the caret", async () => {
  const document = await made("1", { title: "Lunch", description: "" });
  render(<Whole document={document} />, { wrapper });
  const field = screen.getByRole<HTMLInputElement>("textbox", { name: "Title" });
  const user = userEvent.setup();
  await user.click(field);
  const edits = document.snapshot.pending;
  fireEvent.compositionStart(field);
  fireEvent.change(field, { target: { value: "Lunchに" } });
  fireEvent.change(field, { target: { value: "Lunch" } });
  fireEvent.compositionEnd(field);
  expect(document.snapshot.pending).toBe(edits);
  field.setSelectionRange(1, 1);
  await user.keyboard("a");
  expect(field.value).toBe("Launch");
  expect(field.selectionStart).toBe(2);
});

test("what was composed before a letter like it leaves the caret between the two", async () => {
  const document = await made("1", { title: "", description: "hello" });
  const field = shown(document);
  field.focus();
  fireEvent.compositionStart(field);
  fireEvent.change(field, { target: { value: "helllo" } });
  field.setSelectionRange(4, 4);
  fireEvent.compositionEnd(field);
  expect(document.snapshot.view?.description).toBe("helllo");
  expect(field.selectionStart).toBe(4);
});

test("an input that has no selection shows what others write", async () => {
  const document = await made("1", { title: "ann@example.org", description: "" });
  const tell = told(document);
  render(<Whole document={document} type="email" />, { wrapper });
  const field = screen.getByRole<HTMLInputElement>("textbox", { name: "Title" });
  field.focus();
  tell({ after: { ...document.snapshot.view, title: "bob@example.org" } as unknown as Json });
  act(() => document.set("/title", "bob@example.org"));
  expect(field.value).toBe("bob@example.org");
});

test("events by their ids are summaries in the order of their start, wherever it is told", async () => {
  await made("never", { title: "Never", description: "" });
  await made("late", { title: "Late", description: "" });
  await made("early", { title: "Early", description: "" });
  const early = client.open("event", "early");
  const late = client.open("event", "late");
  early.set("/start_time", "2026-01-02T09:00:00+10:00");
  late.set("/start_time", "2026-01-02T01:00:00Z");
  const { result } = renderHook(() => useCalendar(["never", "late", "early"]), { wrapper });
  expect(result.current.items.map(({ title }) => title)).toEqual(["Early", "Late", "Never"]);
  act(() => early.set("/title", "Earliest"));
  expect(result.current.items[0]?.title).toBe("Earliest");
});

test("the badge and the status say that edits are kept here while offline", async () => {
  const document = await made("1", { title: "Lunch", description: "" });
  const { result } = renderHook(() => useSyncStatus(), { wrapper });
  render(<ConnectionBadge />, { wrapper });
  await act(() => document.stored());
  expect(result.current.pending).toBeGreaterThan(0);
  expect(screen.getByRole("status", { name: "Sync" }).textContent).toMatch(/^offline, \d+ edits? kept here$/);
});

test("the badge says offline only once there is no connection: before that it is connecting", async () => {
  const getToken = () => new Promise<string>(() => {}); // it is on its way
  const first = createClient({ url, getToken, environment });
  render(<ConnectionBadge />, {
    wrapper: ({ children }) => <GatewayProvider client={first}>{children}</GatewayProvider>,
  });
  const text = () => screen.getByRole("status", { name: "Sync" }).textContent;
  expect(text()).toBe("connecting");
  act(() => first.disconnect());
  await waitFor(() => expect(text()).toBe("offline"));
  await act(() => first.close());
});

test("the badge shows each change at once, and has it read out when it stays", async () => {
  const document = await made("1", { title: "Lunch", description: "" });
  const { container } = render(<ConnectionBadge />, { wrapper });
  const [shown, told] = [
    screen.getByRole("status", { name: "Sync" }),
    container.querySelector("[aria-live=polite]"),
  ];
  const before = shown.textContent;
  expect(told?.textContent).toBe(before);
  act(() => document.set("/title", "Dinner"));
  expect(shown.textContent).not.toBe(before);
  expect(shown.getAttribute("aria-live")).toBe("off");
  expect(told?.textContent).toBe(before);
  await waitFor(() => expect(told?.textContent).toBe(shown.textContent));
});

test("what becomes of conflicts can be said anew, and the document stays", async () => {
  const document = await made("1", { title: "Lunch", description: "" });
  const opened = vi.spyOn(client, "open");
  const seen = new Set<unknown>();
  const { rerender } = renderHook(
    ({ onConflict }: { onConflict: "ask" | "merge" }) => {
      seen.add(useRealtimeEvent<Event>("1", { onConflict }).document);
    },
    { wrapper, initialProps: { onConflict: "ask" } },
  );
  rerender({ onConflict: "merge" });
  expect(opened).toHaveBeenLastCalledWith("event", "1", { onConflict: "merge" });
  expect([...seen]).toEqual([null, document]);
});

test("people are listed with their initials, whether they type, and what the application says of them", () => {
  const presence = (name: string, is_typing: boolean) => ({
    user_id: name,
    user: { id: name, name, avatar_url: "", color: "#336699" },
    cursor: { field: "title" },
    is_typing,
    last_seen: 0,
    client_id: name,
    session_id: name,
  });
  const me = presence("Bob", false);
  const describe = (one: Presence) => one !== me && `, editing ${one.cursor.field}`;
  render(<PresenceIndicators presences={[presence(" Ann van Lee", true)]} self={me} describe={describe} />);
  const [ann, bob] = screen.getAllByRole("listitem");
  expect(ann?.textContent).toContain("AL Ann van Lee, editing title");
  expect(ann?.querySelector('[aria-label="typing"]')).not.toBeNull();
  expect(bob?.textContent).toContain("Bob (you)");
  expect(screen.getByRole("list", { name: "People here" })).not.toBeNull();
});

test("what is said of somebody may come and go in a page that the browser has translated", () => {
  const ann = { user: { name: "Ann" }, session_id: "1" } as Presence;
  const { container, rerender } = render(
    <PresenceIndicators presences={[ann]} describe={() => ", writing"} />,
  );
  translate(container);
  rerender(<PresenceIndicators presences={[ann]} describe={() => ", editing title"} />);
  expect(screen.getByRole("listitem").textContent).toBe("AAnn, editing title");
  translate(container);
  rerender(<PresenceIndicators presences={[ann]} describe={() => null} />);
  expect(screen.getByRole("listitem").textContent).toBe("AAnn");
});

test("there is no dialog without a conflict", async () => {
  const document = await made("1", { title: "Lunch", description: "" });
  render(<ConflictDialog document={document as unknown as SharedDocument<Json>} />, { wrapper });
  expect(screen.queryByRole("dialog", { hidden: true })).toBeNull();
});

test("a hook outside of a provider says what is missing", () => {
  expect(() => renderHook(() => useSyncStatus())).toThrow(/a GatewayProvider/);
});
