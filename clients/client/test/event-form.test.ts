/** The tutorial's form, two of them on a real gateway. */

// @ts-expect-error: it comes without types, and a document is all that is used
import { JSDOM } from "jsdom";
import { expect, test, vi } from "vitest";
import { shareForm } from "../examples/event-form.js";
import { People } from "./support/people.js";

const people = new People();
const window = new JSDOM().window as Window & typeof globalThis;
const { document, Event } = window;

function form(): HTMLFormElement {
  const made = document.createElement("form");
  made.innerHTML = `<input name="title"><input name="location"><textarea name="description"></textarea>
    <span data-people></span><span role="status"></span>`;
  document.body.append(made);
  return made;
}

const field = (of: HTMLFormElement, name: string) => of.elements.namedItem(name) as HTMLInputElement;

function type(of: HTMLFormElement, name: string, text: string): void {
  field(of, name).focus();
  field(of, name).value = text;
  field(of, name).dispatchEvent(new Event("input"));
}

test("two forms show the same, a caret stays where it is, and people are named", async () => {
  const id = people.newId();
  const [anns, bens] = [form(), form()];
  const [ann, ben] = [people.client("ann"), people.client("ben")];
  const ends = [shareForm(anns, ann, id), shareForm(bens, ben, id)];
  for (const made of [anns, bens]) {
    await vi.waitFor(() => expect(field(made, "title").disabled).toBe(false), 100_000);
  }
  type(anns, "description", "Bring cake.");
  await vi.waitFor(() => expect(field(bens, "description").value).toBe("Bring cake."), 100_000);
  await vi.waitFor(() => expect(bens.querySelector("[data-people]")?.textContent).toBe("ann"), 100_000);

  field(bens, "description").focus();
  field(bens, "description").setSelectionRange("Bring ".length, "Bring cake".length);
  const other = ann.open<{ description: string }>("event", id);
  other.setText("/description", "Please bring cake.");
  await vi.waitFor(() => expect(field(bens, "description").value).toBe("Please bring cake."), 100_000);
  expect(field(bens, "description").selectionStart).toBe("Please bring ".length);
  expect(field(bens, "description").selectionEnd).toBe("Please bring cake".length);
  await vi.waitFor(() => expect(bens.querySelector("[role=status]")?.textContent).toBe("saved"), 100_000);
  other.edit({ op: "replace", path: "", value: null });
  await vi.waitFor(() => expect(field(bens, "title").disabled).toBe(true), 100_000);
  other.create({ description: "" });
  await vi.waitFor(() => expect(field(bens, "title").disabled).toBe(false), 100_000);
  for (const end of ends) end();

  const errors: unknown[] = [];
  window.addEventListener("error", ({ error }) => errors.push(error));
  other.setText("/title", "Picnic");
  await other.saved();
  await ben.close();
  type(bens, "description", "Over.");
  expect(errors).toEqual([]);
  expect(field(bens, "title").value).toBe("");
});

test("a viewer's form of an event that isn't there shows nothing, and makes none", async () => {
  const viewer = people.client("vic", {}, { grants: { "event:*": "viewer" } });
  const event = viewer.open("event", people.newId());
  const vics = form();
  const end = shareForm(vics, viewer, event.id);
  await event.ready();
  expect(field(vics, "title").disabled).toBe(true);
  expect(event.snapshot).toMatchObject({ isDeleted: true, pending: 0 });
  end();
});
