/** The connection against a real gateway: tokens that end, roles that change, many documents at once. */

import { type Client, createClient, memoryStore } from "@collab/client";
import { expect, test } from "vitest";
import { type Event, People } from "../support/people.js";
import { problemsOf } from "../support/problems.js";
import { goOffline, until } from "../support/until.js";

const people = new People();

/** Everything that a client's sockets send and get, by type. */
function traced() {
  const sent: string[] = [];
  const environment = {
    webSocket: (url: string, protocols: string[]) => {
      const socket = new WebSocket(url, protocols);
      const send = socket.send.bind(socket);
      socket.send = (text) => {
        sent.push(JSON.parse(String(text)).type);
        send(text);
      };
      return socket;
    },
  };
  return { sent, environment };
}

test("many documents come with one message after a connection was lost", async () => {
  const { sent, environment } = traced();
  const client = people.client("ann", { environment });
  const documents = Array.from({ length: 20 }, () => client.open<Event>("event", people.newId()));
  await Promise.all(documents.map((document) => document.ready()));
  for (const document of documents) document.create({ title: document.id });
  await client.saved();
  await goOffline(client);
  sent.length = 0;
  client.connect();
  for (const document of documents) await until(document, (now) => now.isLive);
  expect(sent.filter((type) => type === "SUBSCRIBE")).toHaveLength(1);
  documents[7]?.set("/title", "Seven");
  await client.saved();
  expect(documents.map((document) => document.snapshot.view?.title)[7]).toBe("Seven");
});

test("a token that ends is renewed, and editing goes on", async () => {
  let tokens = 0;
  const client = createClient({
    url: people.gateway.url,
    userId: "ann",
    store: memoryStore(),
    getToken: () => {
      tokens++;
      return people.gateway.token("ann", { ttlS: 3 });
    },
  });
  const document = client.open<Event>("event", people.newId());
  await document.ready();
  document.create({ title: "0" });
  const started = Date.now();
  for (let edit = 1; tokens < 3 || Date.now() - started < 4_000; edit++) {
    document.set("/title", String(edit));
    await document.saved();
    await new Promise((done) => setTimeout(done, 100));
  }
  expect(document.snapshot.pending).toBe(0);
  await client.close();
});

test("why a token isn't taken is told, as the server says it", async () => {
  const client = people.client("ann", { getToken: () => "a page of HTML" });
  const problems = problemsOf(client);
  await until(client.connection, (now) => now.state === "denied");
  const message = expect.stringMatching(
    /^The connection was denied: The token is not accepted: it is not a JWT/,
  );
  expect(problems).toMatchObject([{ code: "DENIED", message, refusal: { code: "UNAUTHENTICATED" } }]);
});

test("a role that a new token takes away is told", async () => {
  const { document: ann } = await people.event("ann");
  let grants: Record<string, string> = { "event:*": "editor" };
  const getToken = () => people.gateway.token("eve", { grants, ttlS: 4 });
  const client: Client = people.client("eve", { getToken });
  const document = client.open<Event>("event", ann.id);
  await document.ready();
  expect(document.snapshot).toMatchObject({ role: "editor", canEdit: true });
  grants = { "event:*": "viewer" };
  await until(document, (now) => now.role === "viewer");
  expect(document.snapshot.canEdit).toBe(false);
  grants = { "event:another": "viewer" };
  await until(document, (now) => now.status === "forbidden");
});

test("what a renewed token grants besides is opened, and listed, on the same connection", async () => {
  const calendar = people.newId();
  const { document: ann } = await people.event("ann", { calendar_id: calendar });
  let grants: Record<string, string> = { "event:another": "viewer" };
  const { sent, environment } = traced();
  const getToken = () => people.gateway.token("eve", { grants, ttlS: 4 });
  const client: Client = people.client("eve", { getToken, environment });
  const document = client.open<Event>("event", ann.id);
  const listed = client.calendar(calendar);
  await until(document, (now) => now.status === "forbidden");
  await until(listed, (now) => now.status === "forbidden");
  grants = { "event:*": "viewer", "calendar:*": "viewer" };
  await until(document, (now) => now.isLive);
  await until(listed, (now) => now.items.length === 1);
  expect(document.snapshot).toMatchObject({ status: "ready", role: "viewer" });
  expect(sent.filter((type) => type === "AUTH").length).toBeGreaterThan(1);
  expect(client.connection.snapshot.state).toBe("online");
});

test("a client whose name is taken is denied, and another name lets it go on with its edits", async () => {
  const { document: ann } = await people.event("ann");
  const [one, two] = ["ben", "ben"].map((user) =>
    people.client(user, { clientId: "ben's phone", connect: false }),
  );
  const document = (one as Client).open<Event>("event", ann.id);
  one?.connect();
  await document.ready();
  two?.connect();
  await until((one as Client).connection, (now) => now.state === "denied");
  expect(one?.connection.snapshot.reason).toBe("replaced");
  document.set("/title", "Offline for a moment");
  one?.connect();
  await document.saved();
  expect(one?.clientId).not.toBe("ben's phone");
  await until(ann, (now) => now.view?.title === "Offline for a moment");
});
