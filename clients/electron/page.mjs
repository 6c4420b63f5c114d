// A title that is edited together, kept in files while the network is away.

import { createClient } from "@collab/client";
import { bridgedStore } from "./store.mjs";

const parameters = new URLSearchParams(location.search);
const client = createClient({
  url: parameters.get("gateway") ?? "ws://127.0.0.1:8787/realtime",
  getToken: () => parameters.get("token") ?? "",
  store: bridgedStore(window.collabFiles),
});

const event = client.open("event", parameters.get("event") ?? "1");
const title = document.querySelector("#title");
const sync = document.querySelector("#sync");

title.addEventListener("input", () => event.setText("/title", title.value));
const show = (view) => {
  const text = view?.title ?? "";
  if (title.value !== text) title.value = text;
};

// What others type before the caret moves it along: without this it would jump to the end.
event.onChange((change) => {
  if (change.origin === "local" || document.activeElement !== title) return;
  const { selectionStart, selectionEnd } = title;
  const [start, end] = [selectionStart, selectionEnd].map((caret) => change.carry("/title", caret));
  show(change.after);
  title.setSelectionRange(start, end);
});
event.subscribe(() => {
  const { view, canEdit, isDeleted } = event.snapshot;
  show(view);
  title.disabled = !canEdit || isDeleted;
  title.placeholder = isDeleted ? "There is no such event." : "";
});
client.sync.subscribe(() => {
  sync.value = client.sync.snapshot.state;
});
