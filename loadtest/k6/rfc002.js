// RFC-002's load test (section 8.3) for k6, as it works: 1,000 connections, then 5,000, an edit each 10 s.
//
//   k6 run -e URL=ws://127.0.0.1:8787/realtime -e SECRET="$(cat data/jwt-secret)" loadtest/k6/rfc002.js
//
// What differs from the RFC's text, and why:
// - Timers are the socket's. In k6/ws the script stands still while a socket is open, so the global setInterval
//   of the RFC never fires and no edit is sent.
// - Every user signs a token of its own. With one for all, all share one rate limit (100 edits a minute).
// - `setup` makes the documents, and edits are real ones, each with the version that was seen.
// - An edit is followed to its acknowledgement and to everybody who sees it; thresholds say what passes.
//
// Settings by -e: URL, SECRET, MINUTE_S (60; smaller shortens all stages), SESSION_S (60), EVERY_S (10), USERS
// (1000; the second ramp goes to five times as many), DOCUMENTS (1000), RUN (a prefix of the documents' names).

import { check, fail } from "k6";
import crypto from "k6/crypto";
import encoding from "k6/encoding";
import { Counter, Rate, Trend } from "k6/metrics";
import ws from "k6/ws";

const number = (name, otherwise) => Number(__ENV[name] || otherwise);

const URL = __ENV.URL || "ws://127.0.0.1:8787/realtime";
const MINUTE_S = number("MINUTE_S", 60);
const SESSION_MS = 1000 * number("SESSION_S", 60);
const EVERY_MS = 1000 * number("EVERY_S", 10);
const USERS = number("USERS", 1000);
const DOCUMENTS = number("DOCUMENTS", 1000);
const RUN = __ENV.RUN || "k6";
const ANSWERS_MS = 1000; // a user stays so long after its last edit
const LATE_ANSWERS_MS = 10_000; // a session is longer by so much at the most, where answers are late
const TOKEN_S = 7200;

const sent = new Counter("edits_sent");
const acknowledged = new Counter("edits_acknowledged");
const refused = new Counter("edits_refused");
const received = new Counter("edits_received");
const connected = new Rate("connected");
const ackMs = new Trend("edit_ack_ms", true);
const deliveryMs = new Trend("edit_delivery_ms", true);

const minutes = (count) => `${Math.max(1, Math.round(count * MINUTE_S))}s`;

export const options = {
  stages: [
    { duration: minutes(2), target: USERS },
    { duration: minutes(5), target: USERS },
    { duration: minutes(2), target: 5 * USERS },
    { duration: minutes(5), target: 5 * USERS },
    { duration: minutes(2), target: 0 },
  ],
  thresholds: {
    connected: ["rate>0.995"],
    edit_delivery_ms: ["p(95)<200", "p(99)<500"],
    edits_refused: ["count==0"],
  },
  summaryTrendStats: ["med", "p(95)", "p(99)", "max"],
};

/** A JSON Web Token (HS256) for one user, editor of everything. */
function token(user) {
  if (!__ENV.SECRET) fail("SECRET is missing: -e SECRET=\"$(cat data/jwt-secret)\"");
  const part = (value) => encoding.b64encode(JSON.stringify(value), "rawurl");
  const expires = Math.floor(Date.now() / 1000) + TOKEN_S;
  const body = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, exp: expires, grants: { "*": "editor" } })}`;
  return `${body}.${crypto.hmac("sha256", __ENV.SECRET, body, "base64rawurl")}`;
}

const headers = (user) => ({ headers: { Authorization: `Bearer ${token(user)}` } });

/** A message as the RFC has it. */
const message = (type, id, payload) => JSON.stringify({ type, id, timestamp: Date.now(), payload });

const operation = (id, document, client, version, body) =>
  message("OP", id, { resource_type: "event", resource_id: document, client_id: client, version, operation: body });

const event = (index) => ({
  title: `Meeting ${index}`,
  start_time: "2026-12-01T09:00:00Z",
  end_time: "2026-12-01T10:00:00Z",
  location: "Room 1",
  description: "",
  attendees: [],
});

/** Make the documents, a few for each user, so that no rate limit is met. */
export function setup() {
  const each = 8;
  for (let first = 0; first < DOCUMENTS; first += each) {
    const last = Math.min(first + each, DOCUMENTS);
    let left = last - first;
    ws.connect(URL, headers(`${RUN}-setup-${first}`), (socket) => {
      socket.on("open", () => {
        for (let index = first; index < last; index++) {
          const document = `${RUN}-${index}`;
          socket.send(message("SUBSCRIBE", `s${index}`, { resource: "event", resource_id: document }));
          socket.send(
            operation(`c${index}`, document, `${RUN}-setup`, 0, { op: "add", path: "", value: event(index) }),
          );
        }
      });
      socket.on("message", (data) => {
        const { type, payload } = JSON.parse(data);
        if (type === "ERROR") fail(`a document can't be made: ${payload.code} ${payload.message}`);
        if (type === "OP_ACK" && --left === 0) socket.close();
      });
      socket.setTimeout(() => socket.close(), 20_000);
    });
    if (left > 0) fail("the documents can't be made: no answer");
  }
}

export default function () {
  const user = `${RUN}-user-${__VU}`;
  const client = `${user}-${__ITER}`;
  const document = `${RUN}-${__VU % DOCUMENTS}`;
  const waiting = new Map(); // edits that are unanswered: id -> when they left
  let version = 0;
  let count = 0;
  let over = false;

  const response = ws.connect(URL, headers(user), (socket) => {
    socket.on("open", () => {
      socket.send(message("SUBSCRIBE", "subscribe", { resource: "event", resource_id: document }));
    });

    socket.on("message", (data) => {
      const { type, payload } = JSON.parse(data);
      if (type === "SUBSCRIBE_ACK") {
        version = payload.version;
        start(socket);
      } else if (type === "OP_ACK") {
        version = Math.max(version, payload.version);
        acknowledged.add(1);
        ackMs.add(Date.now() - waiting.get(payload.id));
        waiting.delete(payload.id);
      } else if (type === "OP_BROADCAST") {
        version = Math.max(version, payload.version);
        received.add(1);
        const { value } = payload.operation; // none where the edit merged into nothing
        if (value) deliveryMs.add(Date.now() - Number(value.split(" ").pop()));
      } else if (type === "ERROR" && waiting.delete(payload.ref)) {
        refused.add(1, { code: payload.code });
      }
      closeWhenAnswered(socket);
    });

    socket.setTimeout(() => {
      over = true;
      closeWhenAnswered(socket);
    }, SESSION_MS);
    socket.setTimeout(() => socket.close(), SESSION_MS + LATE_ANSWERS_MS);
  });

  function closeWhenAnswered(socket) {
    if (over && waiting.size === 0) socket.close();
  }

  function start(socket) {
    const until = Date.now() + SESSION_MS - ANSWERS_MS;
    socket.setInterval(() => {
      if (Date.now() > until) return;
      const id = `${client}-${count++}`;
      const value = `k6 ${user} ${Date.now()}`;
      socket.send(operation(id, document, client, version, { op: "replace", path: "/title", value }));
      waiting.set(id, Date.now());
      sent.add(1);
    }, EVERY_MS);
  }

  connected.add(check(response, { "the handshake is answered by 101": (r) => r && r.status === 101 }));
}
