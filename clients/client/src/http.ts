/** The HTTP API beside the socket: polling, history, time travel, lists and search. Loaded when it is needed. */

import type {
  ClientOptions,
  Environment,
  HistoryEntry,
  HistoryPage,
  HistoryQuery,
  Json,
  ListPage,
  ListQuery,
  SearchQuery,
  Summary,
} from "./api.js";
import { isTyping, mayBeTyping } from "./documents/typing.js";
import { RequestError } from "./errors.js";
import { type Change, type Payload, pauseOf, summaryOf } from "./wire.js";

type Query = Record<string, string | number | Date | undefined>;
interface Answer {
  response: Response;
  content: Payload;
}

const TIMEOUT_MS = 20_000;
const CALENDAR_PAGE = 200;
const HISTORY_LIMIT = 50;
const HISTORY_SPAN = 500;
/** Typing goes on over pauses that are shorter. */
const TYPING_PAUSE_MS = 30_000;
/** So often a read of the past is tried that comes too soon after others; and after so long, where nothing is said of that. */
const TRIES = 5;
const TOO_SOON_MS = 1_000;

export class HttpApi {
  #base: string;
  /** Polling presents one token after the other: each request a valid one, and not one for each request. */
  #token: Promise<string> | null = null;

  constructor(
    private readonly options: ClientOptions,
    private readonly environment: Environment,
    private readonly isClosed: () => boolean,
  ) {
    this.#base = options.url.replace(/^ws/, "http").replace(/\/realtime\/?(\?.*)?$/, "/v1");
  }

  /**
   * The answer's body, which has the member that the gateway's must have; null for 304. Rejects with a
   * `RequestError`, or another error without an answer of the gateway's.
   */
  async request(
    method: string,
    path: string,
    must: string,
    query: Query = {},
    body?: Json,
  ): Promise<Payload | null> {
    const send = () => this.#send(method, path, query, body);
    let answer = await send();
    if (answer.response.status === 401) {
      this.renew(); // a token that ended since it was asked for
      answer = await send();
    }
    const { response, content } = answer;
    if (response.status === 304) return null;
    if (response.ok && must in content) return content;
    throw refusal(response, content);
  }

  /** Called on each way back: the next request asks for a fresh token. */
  renew(): void {
    this.#token = null;
  }

  /** The answer with what it holds: nothing where that is no JSON, or doesn't come in time, nor does the token. */
  async #send(method: string, path: string, query: Query, body?: Json): Promise<Answer> {
    const aborter = new AbortController();
    let timer: unknown;
    const late = new Promise<never>((_, reject) => {
      timer = this.environment.setTimeout(() => {
        this.renew(); // it may be the token that doesn't come
        aborter.abort();
        reject(new Error("There was no token in time"));
      }, TIMEOUT_MS);
    });
    try {
      const headers: Record<string, string> = {
        authorization: `Bearer ${await Promise.race([this.#tokenNow(), late])}`,
      };
      if (body !== undefined) headers["content-type"] = "application/json";
      const request: RequestInit = { method, headers, signal: aborter.signal };
      if (body !== undefined) request.body = JSON.stringify(body);
      const response = await this.environment
        .fetch(this.#base + path + text(query), request)
        .catch((cause) => Promise.reject(new Error("The gateway can't be reached.", { cause })));
      return { response, content: (await response.json().catch(() => null)) ?? {} };
    } finally {
      this.environment.clearTimeout(timer);
    }
  }

  async #tokenNow(): Promise<string> {
    this.#token ??= Promise.resolve(this.options.getToken());
    try {
      return await this.#token;
    } catch (error) {
      this.#token = null;
      throw error;
    }
  }

  async at<T>(
    type: string,
    id: string,
    when: number | Date,
  ): Promise<{ version: number; document: T | null }> {
    const query = typeof when === "number" ? { version: when } : { at: when };
    const answer = await this.#patiently(() => this.document(resourcePath(type, id), query));
    return { version: Number(answer?.version), document: (answer?.document ?? null) as T | null };
  }

  /**
   * A document, or that there is none at a version: that is an answer as well, unlike a 404 that has a code, of a
   * version that isn't there. Null: nothing is new.
   */
  async document(path: string, query: Query = {}): Promise<Payload | null> {
    try {
      return await this.request("GET", path, "epoch", query);
    } catch (error) {
      if (!(error instanceof RequestError) || error.status !== 404) throw error;
      const problem = error.problem as Payload;
      if ("code" in problem || !("version" in problem)) throw error;
      return { ...problem, document: null };
    }
  }

  /** Newest first: the server tells a history from its beginning, so it is asked for one span after the other. */
  async history(type: string, id: string, head: number, query: HistoryQuery): Promise<HistoryPage> {
    const path = resourcePath(type, id);
    const { before = head + 1, limit = HISTORY_LIMIT, userId, since, until } = query;
    const { joinTyping, inWords } = query;
    let { from = 1 } = query;
    const filters = { user_id: userId, since, until };
    const isSparse = joinTyping || Object.values(filters).some((value) => value !== undefined);
    const runs: Run[] = [];
    let end = before;
    while (end > from && runs.length < limit) {
      const start = Math.max(from, end - (isSparse ? HISTORY_SPAN : limit - runs.length));
      const span = {
        ...filters,
        describe: inWords ? "true" : undefined,
        from: start,
        before: end,
        limit: HISTORY_SPAN,
      };
      const found = await this.#span(path, span).catch((error) => {
        from = firstKept(error, start);
        return null;
      });
      if (!found) continue;
      for (const entry of found.reverse()) {
        const run = runs.at(-1);
        const isText = isTyping(entry.operations);
        if (joinTyping && run && isTypedOn(entry, run.oldest, isText && run.isText))
          Object.assign(run, { oldest: entry, isText: isText && run.isText });
        else runs.push({ newest: entry, oldest: entry, isText });
      }
      end = start;
      if (since && end > from && (await this.#isOlder(path, end, since))) from = end;
    }
    const shown = runs.slice(0, limit);
    const next = runs.length > limit ? shown.at(-1)?.oldest.version : end > from ? end : null;
    return {
      entries: shown.map(({ newest, oldest }) => ({ ...newest, oldest: oldest.version })),
      next: next ?? null,
    };
  }

  /** All changes of a span, however many answers they come in. */
  async #span(path: string, query: Query): Promise<HistoryEntry[]> {
    const found: HistoryEntry[] = [];
    for (let from: string | null = String(query.from); from; ) {
      const asked = { ...query, from };
      const answer = await this.#patiently(() => this.request("GET", `${path}/history`, "changes", asked));
      const { changes = [], next } = (answer ?? {}) as { changes?: unknown; next?: string | null };
      found.push(...(changes as Change[]).map(entryOf));
      from = parameter(next, "from");
    }
    return found;
  }

  /** Whoever read too much waits for as long as the server says, and gives up where the client is closed by then. */
  async #patiently<R>(ask: () => Promise<R>): Promise<R> {
    for (let tries = 1; ; tries++) {
      try {
        return await ask();
      } catch (error) {
        const isTooSoon = error instanceof RequestError && error.status === 429;
        if (!isTooSoon || tries === TRIES || this.isClosed()) throw error;
        const ms = pauseOf(error.problem.retry_after_ms, TOO_SOON_MS);
        await new Promise<void>((go) => this.environment.setTimeout(go, ms));
        if (this.isClosed()) throw error;
      }
    }
  }

  /** Is a change from before a time? Then so is what is before it. */
  async #isOlder(path: string, version: number, time: Date): Promise<boolean> {
    const changes = await this.#span(path, { from: version, before: version + 1 });
    return changes.some(({ timestamp }) => timestamp < time.getTime());
  }

  async list(type: string, { calendarId, ...query }: ListQuery): Promise<ListPage> {
    const path = `/resources/${encodeURIComponent(type)}`;
    const answer = await this.request("GET", path, "items", { ...query, calendar_id: calendarId });
    const { items = [], next } = (answer ?? {}) as { items?: Payload[]; next?: string };
    return { next: parameter(next, "after"), items: items.map(summaryOf) };
  }

  /** All of a calendar, page by page, from where a page ended or from the beginning. */
  async events(calendarId: string, start?: string): Promise<Summary[]> {
    const found: Summary[] = [];
    for (let after: string | null | undefined = start; after !== null; ) {
      const page = await this.list("event", { calendarId, limit: CALENDAR_PAGE, ...(after && { after }) });
      found.push(...page.items);
      after = page.next;
    }
    return found;
  }

  async search({ userId, ...query }: SearchQuery): Promise<Json> {
    const answer = await this.request("GET", "/search", "items", { ...query, user_id: userId });
    return answer && { ...answer, next: parameter(answer.next, "after") };
  }
}

/** What says no problem as the gateway does was said by something before it: that is no answer. */
function refusal({ status, statusText, headers }: Response, content: Payload): Error {
  if (!headers.get("content-type")?.startsWith("application/problem+json"))
    return new Error(`It wasn't the gateway that answered: ${status} ${statusText}`);
  const { code = `HTTP_${status}`, detail, title = statusText } = content;
  return new RequestError(String(code), String(detail ?? title), status, content);
}

/** The first version that is kept, where an answer says that `start` isn't. */
function firstKept(error: unknown, start: number): number {
  const version = error instanceof RequestError && error.status === 410 && Number(error.problem.version);
  if (version && version >= start) return version + 1;
  throw error;
}

/** Changes that are told as one; `isText`: each of them is text that was typed. */
interface Run {
  readonly newest: HistoryEntry;
  oldest: HistoryEntry;
  isText: boolean;
}

/** By whom and where; edits that were sent together may have written there more than once. */
const typedAt = ({ userId, operations, undoes }: HistoryEntry): string | null =>
  mayBeTyping(operations) && undoes === null
    ? JSON.stringify([userId, ...new Set(operations.map(({ path }) => path))])
    : null;

/** Did the author of the older change type on in the newer one? What is replaced whole was another's in between, it may be. */
const isTypedOn = (older: HistoryEntry, newer: HistoryEntry, isText: boolean): boolean =>
  newer.timestamp - older.timestamp < TYPING_PAUSE_MS &&
  (isText || newer.version === older.version + 1) &&
  typedAt(older) !== null &&
  typedAt(older) === typedAt(newer);

export const resourcePath = (type: string, id: string): string =>
  `/resources/${encodeURIComponent(type)}/${encodeURIComponent(id)}`;

function text(query: Query): string {
  const parts = Object.entries(query).flatMap(([name, value]) => {
    if (value === undefined) return [];
    return [`${name}=${encodeURIComponent(value instanceof Date ? value.toISOString() : value)}`];
  });
  return parts.length ? `?${parts.join("&")}` : "";
}

/** What a link to the next page says of itself; null where there is none. React Native's URL can't be asked. */
function parameter(link: Json | undefined, name: string): string | null {
  const [, value] = String(link ?? "").match(`[?&]${name}=([^&]*)`) ?? [];
  return value === undefined ? null : decodeURIComponent(value);
}

const entryOf = (change: Change) => ({
  version: change.version,
  oldest: change.version,
  userId: change.user_id,
  clientId: change.client_id,
  timestamp: change.timestamp,
  operations: change.operations,
  undoes: change.undoes ?? null,
  summary: change.summary ?? null,
});
