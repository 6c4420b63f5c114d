// The console of a node: asks its admin port every two seconds while the page is seen, and draws what it says.

const INTERVAL_MS = 2000;
const SLOW_EVERY = 5; // flags, revocations and acts: each so many rounds
const POINTS_MAX = 150;
const EVENTS_MAX = 500;
const KEY = "gateway-console-token";
const REASON = "gateway-console-reason"; // why the one before was signed out
const SAID_MS = 4000;
const WRONG_MS = 15000; // what went wrong is read twice
const AWAY = "The node doesn't answer: docs/runbooks/GatewayDown.md says what to do.";

const $ = (id) => document.getElementById(id);
const series = new Map();
let token = "";
let before = null;
let round = 0;
let timer = 0;
let answered = 0; // when the node did last
let toast = 0;
let operator = false;
let types = [];
let traced = null;
const lastEvents = new Map();

const reached = (path, options) =>
  fetch(path, options).catch(() => {
    throw new Error(AWAY);
  });

async function ask(method, path, body) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await reached(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const found = await answer.json().catch(() => null);
  if (!answer.ok) {
    const error = new Error(found?.detail ?? found?.reason ?? `Status ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  if (found === null) throw new Error(AWAY);
  return found;
}

// ---------------------------------------------------------------------------------------------- drawing

/** An element; text is always text, never markup. */
function made(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

function table(place, columns, rows, empty) {
  if (!rows.length) return $(place).replaceChildren(made("p", { className: "empty" }, empty));
  const cell = (kind, [, , number], content) => made(kind, { className: number ? "number" : "" }, content);
  const head = made("tr", {}, ...columns.map((column) => cell("th", column, column[0])));
  const body = rows.map((row) => made("tr", {}, ...columns.map((column) => cell("td", column, column[1](row)))));
  $(place).replaceChildren(made("table", {}, made("thead", {}, head), made("tbody", {}, ...body)));
  scrollByKeyboard($(place).closest("section"));
}

// What is too wide for a phone is scrolled, by keyboard too.
function scrollByKeyboard(section) {
  section.ariaLabel = section.querySelector("h2").textContent;
  if (section.scrollWidth > section.clientWidth) section.tabIndex = 0;
  else section.removeAttribute("tabindex");
}

function count(value) {
  if (value === null || value === undefined) return "–";
  if (Math.abs(value) >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  return value >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toFixed(1);
}

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 100 || !unit ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

const ms = (seconds) => `${(seconds * 1000).toFixed(seconds < 0.01 ? 2 : 0)} ms`;
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

function pick(text) {
  const button = made("button", { type: "button", className: "link" }, text);
  button.addEventListener("click", () => {
    $("find-text").value = text;
    find();
    $("find-text").scrollIntoView({ block: "center" });
  });
  return button;
}

const SVG = "http://www.w3.org/2000/svg";

function tile(name, value, shown) {
  const points = series.get(name) ?? [];
  series.set(name, points);
  points.push(value);
  if (points.length > POINTS_MAX) points.shift();
  let card = document.querySelector(`[data-tile="${name}"]`);
  if (!card) {
    const chart = document.createElementNS(SVG, "svg");
    chart.setAttribute("preserveAspectRatio", "none");
    chart.setAttribute("role", "img");
    chart.append(document.createElementNS(SVG, "polyline"));
    card = made("div", { className: "tile" }, made("div", { className: "label" }, name),
      made("div", { className: "value" }), chart);
    card.dataset.tile = name;
    $("tiles").append(card);
  }
  card.querySelector(".value").textContent = shown(value);
  const top = Math.max(...points, 1e-9);
  const chart = card.querySelector("svg");
  chart.setAttribute("viewBox", `0 0 ${POINTS_MAX - 1} 20`);
  chart.setAttribute("aria-label", `${name}, the last minutes; at most ${shown(top)}`);
  const x = (index) => POINTS_MAX - points.length + index;
  chart.firstChild.setAttribute("points", points.map((point, i) => `${x(i)},${19 - (point / top) * 18}`).join(" "));
}

const total = (workers, name) => workers.reduce((sum, worker) => sum + (worker[name] ?? 0), 0);
const values = (counted) => Object.values(counted).reduce((sum, value) => sum + value, 0);
const most = (workers, name) => Math.max(...workers.map((worker) => worker[name] ?? 0));

/** Of a sum since the start: how much a second, over the workers that were there before. */
function rate(workers, of) {
  if (!before) return 0;
  let found = 0;
  for (const worker of workers) {
    const old = before.get(worker.pid);
    if (old && worker.time_s > old.time_s) found += (of(worker) - of(old)) / (worker.time_s - old.time_s);
  }
  return Math.max(0, found);
}

function drawNumbers(workers) {
  tile("Connections", total(workers, "connections"), count);
  tile("Connections left", total(workers, "connections_left"), count);
  tile("Users (by worker)", total(workers, "users"), count);
  tile("Open rooms", total(workers, "rooms"), count);
  tile("Edits / s", rate(workers, (worker) => worker.operations_committed), count);
  tile("Refused edits / s", rate(workers, (worker) => values(worker.operations_refused)), count);
  tile("Deliveries / s", rate(workers, (worker) => worker.deliveries), count);
  tile("Messages in / s", rate(workers, (worker) => worker.messages_received), count);
  const delivered = rate(workers, (worker) => worker.latency_count);
  tile("Delivery, mean", delivered ? rate(workers, (worker) => worker.latency_sum_s) / delivered : 0, ms);
  tile("CPU of workers", rate(workers, (worker) => worker.cpu_s) * 100, (value) => `${value.toFixed(1)} %`);
  tile("Memory", total(workers, "memory_bytes"), bytes);
  tile("Loop lag, 30 s", most(workers, "loop_lag_max_seconds"), ms);
  tile("Bad tokens / s", rate(workers, (worker) => worker.authentications.UNAUTHENTICATED ?? 0), count);
  tile("Waits for slow readers", total(workers, "outbox_bytes"), bytes);
}

function top(workers, list, by) {
  const found = new Map();
  for (const room of workers.flatMap((worker) => worker[list])) {
    const known = found.get(room.resource);
    if (!known) found.set(room.resource, { ...room });
    else {
      known.subscribers += room.subscribers;
      known.changes_per_s = Math.max(known.changes_per_s, room.changes_per_s);
      known.version = Math.max(known.version, room.version);
    }
  }
  return [...found.values()].sort((one, two) => two[by] - one[by]).slice(0, 10);
}

const ROOM = [
  ["room", (room) => pick(room.resource)],
  ["changes/s", (room) => count(room.changes_per_s), true],
  ["here", (room) => count(room.subscribers), true],
  ["version", (room) => count(room.version), true],
];

function drawStandingOut(workers) {
  table("busiest", ROOM, top(workers, "busiest", "changes_per_s"), "Nobody edits.");
  table("watched", ROOM, top(workers, "watched", "subscribers"), "Nobody looks at anything.");
  const slow = workers.flatMap((worker) => worker.slow).sort((one, two) => two.waiting_bytes - one.waiting_bytes);
  table("slow", [
    ["user", (reader) => (reader.user_id ? pick(reader.user_id) : "–")],
    ["from", (reader) => reader.remote],
    ["waits", (reader) => bytes(reader.waiting_bytes), true],
  ], slow.slice(0, 10), "Everybody keeps up.");
  const problems = [...new Set(workers.flatMap((worker) => worker.problems))];
  $("problems-section").hidden = !problems.length;
  $("problems").replaceChildren(...problems.map((problem) => made("li", {}, problem)));
}

function drawPlaces(workers) {
  table("workers", [
    ["worker", (worker) => worker.worker],
    ["pid", (worker) => String(worker.pid), true],
    ["connections", (worker) => count(worker.connections), true],
    ["CPU", (worker) => `${(rate([worker], (one) => one.cpu_s) * 100).toFixed(1)} %`, true],
    ["memory", (worker) => bytes(worker.memory_bytes), true],
    ["state", (worker) => (worker.draining ? "drains" : "")],
  ], workers, "No worker answers.");
  const servers = Object.keys(Object.assign({}, ...workers.map((worker) => worker.redis_memory_bytes)));
  const of = (name, server) => Math.max(...workers.map((worker) => worker[name][server] ?? 0));
  table("redis", [
    ["server", (server) => server],
    ["memory", (server) => bytes(of("redis_memory_bytes", server)), true],
    ["of", (server) => bytes(of("redis_memory_limit_bytes", server)), true],
    ["answers in", (server) => ms(of("redis_answer_seconds", server)), true],
    ["replica behind", (server) => bytes(of("redis_replica_lag_bytes", server)), true],
  ], servers, most(workers, "redis_unreachable") ? "Redis doesn't answer." : "A lone node: no Redis.");
  const free = most(workers, "disk_free_bytes");
  table("archive", [["what", (row) => row[0]], ["how much", (row) => row[1], true]], [
    ["changes moved to PostgreSQL", count(total(workers, "archives"))],
    ["wait for it", count(total(workers, "archive_waiting"))],
    ["the oldest waits for", `${most(workers, "archive_lag_seconds").toFixed(1)} s`],
    ["failed attempts", count(total(workers, "archive_failures"))],
    ["log can't be written", most(workers, "log_unwritable") ? "yes" : "no"],
    ["disk free", `${bytes(free)} of ${bytes(most(workers, "disk_bytes"))}`],
  ], "");
}

// ---------------------------------------------------------------------------------------------- acting

function say(text, shown_ms = SAID_MS) {
  clearTimeout(toast);
  $("toast").textContent = text;
  $("toast").classList.add("shown");
  toast = setTimeout(() => $("toast").classList.remove("shown"), shown_ms);
}

function sure(text) {
  $("sure-text").textContent = text;
  $("sure").returnValue = ""; // Escape leaves it as it was
  $("sure").showModal();
  return new Promise((resolve) => {
    $("sure").addEventListener("close", () => resolve($("sure").returnValue === "yes"), { once: true });
  });
}

/** Do something that may be refused; says how it went. */
async function act(text, question, work) {
  if (question && !(await sure(question))) return;
  try {
    await work();
    say(text);
  } catch (error) {
    say(error.message, WRONG_MS);
  }
}

/** A user's id may have a colon too. */
const isResource = (text) => types.some((type) => text.startsWith(`${type}:`));

async function find() {
  const text = $("find-text").value.trim();
  const query = new URLSearchParams({ limit: "50" });
  if (text) query.set(isResource(text) ? "resource" : "user_id", text);
  try {
    const { workers } = await ask("GET", `v1/sessions?${query}`);
    table("sessions", [
      ["user", (session) => (session.user_id ? pick(session.user_id) : "(no token yet)")],
      ["client", (session) => session.client_id ?? "–"],
      ["from", (session) => session.remote],
      ["since", (session) => clock(session.opened_ms / 1000)],
      ["silent", (session) => `${session.heard_s_ago} s`, true],
      ["waits", (session) => bytes(session.waiting_bytes), true],
      ["sees", (session) => made("span", {}, ...session.subscriptions.slice(0, 3).flatMap((name) => [pick(name), " "]),
        session.subscriptions_count > 3 ? `and ${session.subscriptions_count - 3} more` : "")],
      ["worker", (session) => session.worker],
    ], workers.flatMap((worker) => worker.sessions), "Nobody.");
  } catch (error) {
    say(error.message, WRONG_MS);
  }
}

async function startTrace() {
  const text = $("find-text").value.trim();
  if (!text) return say("Write a user or TYPE:ID first.");
  await act(`Tracing ${text}`, "", async () => {
    await ask("POST", "v1/trace", isResource(text) ? { resource: text, for_s: 600 } : { user_id: text, for_s: 600 });
    await drawTrace();
  });
}

/** Whoever began it: one trace is all that a node has. */
function showTraced(text) {
  if (text === traced) return;
  if (text === null) say(`The trace of ${traced} ended`);
  traced = text;
  $("events").replaceChildren();
  $("traced").textContent = text;
  $("trace-section").hidden = text === null;
}

async function drawTrace() {
  if (!operator) return;
  const after = Math.min(...(lastEvents.size ? lastEvents.values() : [0]));
  const { workers } = await ask("GET", `v1/trace?after=${after}`);
  const { user_id: user, resource } = workers.map((worker) => worker.tracing).find(Boolean) ?? {};
  showTraced(user ?? resource ?? null);
  const fresh = workers.flatMap((worker) =>
    worker.events.filter((event) => event.number > (lastEvents.get(worker.worker) ?? 0)));
  for (const worker of workers) lastEvents.set(worker.worker, worker.last);
  fresh.sort((one, two) => one.time_s - two.time_s);
  for (const event of fresh) {
    const { time_s, what, number, ...rest } = event;
    const told = Object.entries(rest).map(([name, value]) => `${name}=${value}`).join(" ");
    $("events").append(made("li", {}, `${clock(time_s)} ${what} ${told}`));
  }
  while ($("events").childElementCount > EVENTS_MAX) $("events").firstChild.remove();
  if (fresh.length) $("events").scrollTop = $("events").scrollHeight;
}

async function drawFlags() {
  const found = await ask("GET", "v1/flags");
  table("flags", [
    ["flag", ([name]) => breakable(name)],
    ["in force", ([, value]) => (Array.isArray(value) ? value.join(", ") || "none" : String(value) || "none")],
    ["by", ([name]) => (name in found.changed ? `changed by ${found.changed_by}` : "settings")],
    ["act", ([name, value]) => (operator && typeof value === "boolean" ? toggle(name, value) : "")],
  ], Object.entries(found.in_force), "");
}

// A narrow page goes on in the next line after an underscore, and not within a word.
function breakable(name) {
  return made("span", {}, ...name.split(/(?<=_)/).flatMap((part) => [part, made("wbr", {}, "")]));
}

function toggle(name, value) {
  const button = made("button", { type: "button", className: name === "kill_switch" ? "danger" : "" },
    value ? "switch off" : "switch on");
  button.addEventListener("click", () =>
    act(`${name} is ${!value}`, `Set ${name} to ${!value}, on all nodes?`, async () => {
      await ask("PATCH", "v1/flags", { [name]: !value });
      await drawFlags();
    }));
  return button;
}

async function drawRevocations() {
  const { revocations } = await ask("GET", "v1/revocations");
  table("revocations", [
    ["what", (one) => (one.kind === "grant" ? `${one.pattern} of ${one.subject}` : `${one.kind} ${one.subject}`)],
    ["since", (one) => new Date(one.issued_until * 1000).toLocaleString("en-GB")],
    ["why", (one) => one.reason || "–"],
    ["act", (one) => (operator ? undo(one.id) : "")],
  ], revocations, "Nothing is revoked.");
}

function undo(id) {
  const button = made("button", { type: "button" }, "take back");
  button.addEventListener("click", () =>
    act("Taken back", `Take back the revocation "${id}"?`, async () => {
      await ask("DELETE", `v1/revocations?id=${encodeURIComponent(id)}`);
      await drawRevocations();
    }));
  return button;
}

async function drawActs() {
  let found;
  try {
    found = await ask("GET", "v1/audit?limit=20");
  } catch {
    return; // a node without a record of acts
  }
  $("acts-section").hidden = false;
  table("acts", [
    ["when", (one) => new Date(one.stamp_ms).toLocaleString("en-GB")],
    ["who", (one) => one.actor],
    ["what", (one) => one.act],
    ["of what", (one) => one.subject],
    ["result", (one) => (one.result === "done" ? "" : one.result)],
  ], found.records, "Nothing was done yet.");
}

// ---------------------------------------------------------------------------------------------- the rounds

/** Shows only what this token may do: whatever is refused is on record. */
function allow(workers) {
  operator = workers.every((worker) => worker.asker_role === "admin");
  document.body.classList.toggle("viewer", !operator);
}

async function look() {
  const { workers } = await ask("GET", "v1/node");
  allow(workers);
  workers.sort((one, two) => one.worker.localeCompare(two.worker));
  drawNumbers(workers);
  drawStandingOut(workers);
  drawPlaces(workers);
  before = new Map(workers.map((worker) => [worker.pid, worker]));
  answered = Date.now();
  const drains = workers.some((worker) => worker.draining);
  badge(drains ? "drains" : "live", drains ? "bad" : "good");
  await drawTrace();
  if (round % SLOW_EVERY === 0) await Promise.all([drawFlags(), drawRevocations(), drawActs()]);
  round += 1;
}

function badge(text, kind) {
  $("state").textContent = text;
  $("state").className = `badge ${kind}`;
}

async function turn() {
  clearTimeout(timer);
  if (!token) return;
  if (!document.hidden) {
    try {
      await look();
    } catch (error) {
      badge(answered ? `${error.message} What is below is of ${clock(answered / 1000)}.` : error.message, "bad");
      if (error.status === 401 || error.status === 403) return leave(error.message);
    }
  }
  timer = setTimeout(turn, INTERVAL_MS);
}

async function enter(given) {
  token = given.replace(/\s+/g, ""); // a terminal wraps it
  try {
    if (/[^!-~]/.test(token)) throw new Error("A token has letters, digits and dots: copy all of it once more.");
    sessionStorage.setItem(KEY, token);
    const [health, { workers }] = await Promise.all([
      reached("healthz").then((answer) => answer.json()), ask("GET", "v1/node"),
    ]);
    types = workers.flatMap((worker) => worker.types);
    allow(workers);
    $("name").textContent = health.node;
    document.title = `${health.node}: gateway console`;
  } catch (error) {
    token = "";
    if (error.status === 401 || error.status === 403) sessionStorage.removeItem(KEY);
    $("signin-error").textContent = error.message;
    $("leave").hidden = !sessionStorage.getItem(KEY);
    return;
  }
  $("token").value = "";
  $("signin").hidden = true;
  $("console").hidden = false;
  $("leave").hidden = false;
  $("signin-error").textContent = "";
  await turn();
  await find();
}

/** The page anew: nothing of what was seen, or is on its way, stays for whoever signs in next. */
function leave(reason = "") {
  sessionStorage.removeItem(KEY);
  sessionStorage.setItem(REASON, reason);
  location.reload();
}

function onSubmit(id, work) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    work();
  });
}

onSubmit("signin-form", () => enter($("token").value));
onSubmit("find", find);
onSubmit("revoke", () => {
  const user = $("revoke-user").value.trim();
  act(`${user} is revoked`, `Refuse all tokens that ${user} has now, on all nodes?`, async () => {
    await ask("POST", "v1/revocations", { user_id: user, reason: $("revoke-reason").value });
    await drawRevocations();
  });
});
$("leave").addEventListener("click", () => leave());
$("trace").addEventListener("click", startTrace);
$("trace-stop").addEventListener("click", () => act("The trace ended", "", async () => {
  await ask("DELETE", "v1/trace");
  await drawTrace();
}));
$("disconnect").addEventListener("click", () => {
  const user = $("find-text").value.trim();
  if (!user || isResource(user)) return say("Write a user first.");
  act(`${user} is being disconnected`, `Close all connections of ${user}, on all nodes?`, () =>
    ask("POST", "v1/disconnect", { user_id: user }));
});
$("drain").addEventListener("click", () =>
  act("The node drains", "Send everybody away and end this node?", () => ask("POST", "v1/drain")));
document.addEventListener("visibilitychange", () => document.hidden || turn());

$("signin-error").textContent = sessionStorage.getItem(REASON) ?? "";
sessionStorage.removeItem(REASON);
const shown = location.hash.slice(1);
if (shown) history.replaceState(null, "", location.pathname);
const kept = shown || sessionStorage.getItem(KEY);
if (kept) enter(kept);
