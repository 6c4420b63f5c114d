/** Cursors of documents of which a gateway remembers little. */

import { expect, test } from "vitest";
import { People } from "./support/people.js";
import { until } from "./support/until.js";

const people = new People({ "limits.window_versions_max": 1 });

test("a cursor is carried past what the gateway doesn't remember any more", async () => {
  const { document: ann } = await people.event("ann", { description: "abc" });
  const { document: ben } = await people.join("ben", ann.id);
  ben.presence.setCursor({ field: "description", position: 1 });
  await until(ann.presence, (now) => now.others[0]?.cursor.position === 1);
  for (let late = 1; late <= 3; late++) {
    for (const letter of "abc") {
      ann.edit({ op: "text", path: "/description", value: [letter] });
      await ann.saved();
    }
    const { client, document } = await people.join(`late-${late}`, ann.id, { visible: false });
    const { others } = await until(document.presence, (now) => now.others.length === 2);
    const cursor = others.find(({ user_id }) => user_id === "ben")?.cursor;
    expect(cursor).toEqual({ field: "description", position: 1 + 3 * late });
    await client.close();
  }
});

test("of a cursor whose text nobody remembers only the field is shown", async () => {
  const { document: ann } = await people.event("ann", { description: "abc" });
  for (const letter of "abc") {
    ann.edit({ op: "text", path: "/description", value: [letter] });
    await ann.saved();
  }
  const socket = new WebSocket(people.gateway.url);
  const send = (type: string, payload: object) => socket.send(JSON.stringify({ type, payload }));
  try {
    await new Promise((resolve) => socket.addEventListener("open", resolve));
    send("AUTH", { token: people.gateway.token("ben"), client_id: "ben", protocol: 1 });
    send("SUBSCRIBE", { resource: "event", resource_id: ann.id });
    const cursor = { field: "description", position: 1, version: 1 };
    send("PRESENCE_UPDATE", { resource_id: ann.id, cursor });
    await until(ann.presence, (now) => now.others[0]?.cursor.field === "description");
    const { document: late } = await people.join("late", ann.id);
    const { others } = await until(late.presence, (now) => now.others.length === 2);
    expect(others.find(({ user_id }) => user_id === "ben")?.cursor).toEqual({ field: "description" });
  } finally {
    socket.close();
  }
});
