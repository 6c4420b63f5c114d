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
event.subscribe(() => {
  const { view, canEdit, isDeleted } = event.snapshot;
  const text = view?.title ?? "";
  if (title.value !== text) title.value = text;
  title.disabled = !canEdit || isDeleted;
  title.placeholder = isDeleted ? "There is no such event." : "";
});
client.sync.subscribe(() => {
  sync.value = client.sync.snapshot.state;
});
