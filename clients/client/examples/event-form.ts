import type { Client, ViewChange } from "@collab/client";

interface Event {
  title: string;
  location: string;
  description: string;
}

const FIELDS = ["title", "location", "description"] as const;

/** Makes a form with inputs of these names edit the event `id` together with everybody who has it open. */
export function shareForm(form: HTMLFormElement, client: Client, id: string): () => void {
  const event = client.open<Event>("event", id);
  const input = (name: string) => form.elements.namedItem(name) as HTMLInputElement | HTMLTextAreaElement;
  const people = form.querySelector("[data-people]");
  const status = form.querySelector("[role=status]");

  const show = (view: Partial<Event> | null) => {
    for (const name of FIELDS) {
      const field = input(name);
      field.disabled = !event.snapshot.canEdit || event.snapshot.isDeleted;
      if (field.value !== (view?.[name] ?? "")) field.value = view?.[name] ?? "";
    }
  };

  const ends: (() => void)[] = [];
  const listen = (name: string, type: string, listener: () => void) => {
    input(name).addEventListener(type, listener);
    ends.push(() => input(name).removeEventListener(type, listener));
  };

  // What others type before a caret moves it along: without this it would jump to the end.
  const follow = (change: ViewChange) => {
    const field = form.ownerDocument.activeElement as HTMLInputElement | null;
    if (change.origin === "local" || field?.form !== form) return;
    const carets = [field.selectionStart ?? 0, field.selectionEnd ?? 0];
    const [start = null, end = null] = carets.map((caret) => change.carry(`/${field.name}`, caret));
    show(change.after as Partial<Event> | null);
    field.setSelectionRange(start, end);
  };

  ends.push(
    event.onChange(follow),
    event.subscribe(() => show(event.snapshot.view)),
    event.presence.subscribe(() => {
      const names = event.presence.snapshot.others.map((other) => other.user.name);
      if (people) people.textContent = names.join(", ");
    }),
    client.sync.subscribe(() => {
      if (status) status.textContent = client.sync.snapshot.state;
    }),
  );
  for (const name of FIELDS) {
    listen(name, "input", () => event.setText(`/${name}`, input(name).value));
    listen(name, "focus", () => event.presence.setCursor({ field: name }));
    listen(name, "blur", () => event.presence.setCursor(null));
  }

  show(null);
  void event.ready().then(() => {
    const { canEdit, isDeleted } = event.snapshot;
    if (canEdit && isDeleted) event.create({ title: "", location: "", description: "" });
  });
  return () => {
    for (const end of ends) end();
    event.close();
  };
}
