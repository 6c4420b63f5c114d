/**
 * The public face of `@collab/client`: what an application holds in its hands.
 *
 * Everything that changes is a {@link Readable}: an immutable `snapshot` and `subscribe`, which is what React's
 * `useSyncExternalStore`, Svelte, Vue and plain code need. A snapshot keeps its identity until something in it
 * changes. All text offsets here are UTF-16 offsets, as `selectionStart` and `String.length` count.
 */

import type { Json, Patch, PatchOperation, Strategies } from "./kernel/index.js";

export type { Json, Patch, PatchOperation, Strategies };

/** Something that changes, readable at any time. */
export interface Readable<S> {
  /** The present value: immutable, and the same object until something changes. */
  readonly snapshot: S;
  /** Calls `listener` after each change, until the returned function is called. */
  subscribe(listener: () => void): () => void;
}

// ------------------------------------------------------------------------------------------------ the client

/** How a client is made: `createClient({url, getToken})` is enough. */
export interface ClientOptions {
  /** The socket's address, `wss://HOST/realtime`. The HTTP API is on the same host and port. */
  url: string;
  /** A token that is valid now. Asked on every way back, wake-up included, and before a token ends. */
  getToken: () => string | Promise<string>;
  /** The token's `sub`. Needed where users share a browser: the default store's name holds it. */
  userId?: string;
  /** Names this client among a user's (tabs, devices). The default is made, and kept in the store. */
  clientId?: string;
  /** Where documents and unsent edits live. Default: IndexedDB where there is one, else memory. */
  store?: Store;
  /** Is the user seen by others? Default: true. `client.setVisible` changes it. */
  visible?: boolean;
  /** False: start disconnected ("work offline"); `client.connect()` connects. Default: connect at once. */
  connect?: boolean;
  /** In the background: keep the socket (default), or close it and poll each 5 minutes (saves battery). */
  background?: "keep" | "poll";
  /** What the platform gives; each part has a default that fits browsers and Node. */
  environment?: Partial<Environment>;
  /** Members' strategies, where the client is to predict the server's merges: `{event: {"/tags": {...}}}`. */
  schemas?: Record<string, Strategies>;
  /**
   * Typing is sent at most five times in five such times, the first key after a pause at once. Default: 200, which is
   * five patches a second. 65 sends each key of a fast typist and, where it goes as `text` (`setText`), stays within the
   * server's default rate; of a text that is `set` each patch costs ten times as much.
   */
  typingIntervalMs?: number;
}

/** A client: one connection for all its documents. */
export interface Client {
  /** This client's name; a duplicated tab takes a new one. */
  readonly clientId: string;
  readonly connection: Readable<Connection>;
  /** Whether everything of all documents has arrived. */
  readonly sync: Readable<Sync>;
  /** A document. Opened twice it is the same object; each `open` needs a `close`. */
  open<T = Json>(type: string, id: string, options?: DocumentOptions): SharedDocument<T>;
  /** The events of a calendar as summaries that stay up to date. Needs a `close` for each call. */
  calendar(id: string): Calendar;
  /** One page of summaries of what the token may see, by HTTP. */
  list(type: string, query?: ListQuery): Promise<ListPage>;
  /** Documents and changes that match, newest first, by HTTP. */
  search(query: SearchQuery): Promise<Json>;
  /** End "work offline", a back-off, and the states that only the user ends. */
  connect(): void;
  /** Work offline: no connection and no polling until `connect`. Edits are kept. */
  disconnect(): void;
  /** Shown to others or not, in all documents ("invisible mode"). */
  setVisible(visible: boolean): void;
  /** What went wrong and is nobody's answer: refused edits, a full or corrupt store, a denied connection. */
  onProblem(listener: (problem: Problem) => void): () => void;
  /** Everything so far of the documents that are open here is acknowledged by the server. */
  saved(): Promise<void>;
  /** Ends the connection and releases the store; edits that were kept are sent by the next client. */
  close(): Promise<void>;
}

/**
 * - `connecting`: the first attempt is on its way.
 * - `online`: the socket is up and authenticated.
 * - `reconnecting`: it was lost, or never came; an attempt follows by itself (`retryAt`).
 * - `polling`: sockets fail or aren't allowed; changes come and go over HTTP, each 30 s, each 5 min in the background.
 * - `denied`: nothing more happens by itself; `reason` says why, `connect()` tries again.
 */
export type ConnectionState = "connecting" | "online" | "reconnecting" | "polling" | "denied";

export type ConnectionReason =
  | "offline" // the device has no network
  | "disconnected" // the application asked for it (`disconnect`)
  | "idle" // closed for want of activity (4408); the user's return reconnects
  | "token" // `getToken` failed, or gave what the server refuses
  | "origin" // this page's origin is not allowed (4403): final
  | "replaced" // another connection took this client's name (4409)
  | "not_enabled" // real time is switched off for this user (4403): polling
  | "killed" // real time is switched off for everybody (4403): polling
  | "protocol" // a bug of this client (1002, 1007-1009)
  | "slow" // too slow, or over its rate for long (4429)
  | "full" // the server is full (4503)
  | "lost"; // anything else

export interface Connection {
  readonly state: ConnectionState;
  readonly reason: ConnectionReason | null;
  /** When the next attempt comes (Unix ms), or null. */
  readonly retryAt: number | null;
  /** The token's `sub`, once the server said so. */
  readonly userId: string | null;
  /** Of an A/B test, as the server last said: the one that the user is in, `control`, or `on` where no test runs. */
  readonly variant: string | null;
  /** Did the application ask for offline (`disconnect`)? */
  readonly isPaused: boolean;
  /** Is the user seen by others, as the application last asked for in any tab (`visible`, `setVisible`)? */
  readonly isVisible: boolean;
}

/**
 * `offline`: edits are kept, nothing is sent. `saving`: some are on their way. `saved`: the server has all.
 * `unsaved` is the one to worry about: the store doesn't take edits (full, broken, another user's), and they
 * aren't sent either.
 */
export type SyncState = "offline" | "saving" | "saved" | "unsaved";

export interface Sync {
  readonly state: SyncState;
  /** Edits that the server has not acknowledged, over all documents. */
  readonly pending: number;
  /** Is everything pending written to the durable store? */
  readonly isStored: boolean;
}

export type ProblemCode =
  | "STORE_FULL" // the store takes no more: edits are in memory only until it does
  | "STORE_CORRUPT" // a record can't be read; it was set aside, the document comes from the server
  | "STORE_CLEARED" // what was stored is gone, for the site's data was cleared; what is open is stored again
  | "STORE_UNAVAILABLE" // no durable store here (private mode, blocked); memory is used
  | "STORE_OTHER_USER" // the store holds another user's edits; they are left alone
  | "EDIT_REFUSED" // the server refused an edit, or a `test` in it failed before it was sent; its `code` is in `refusal`
  | "CONFLICT" // a document that no tab has open (any more) has conflicts: open it to resolve them
  | "DENIED" // the connection is denied; `connection.snapshot.reason` says why, `refusal` what is wrong with the token
  // An error of the server that answers no edit; or a part of the client can't be loaded; or a message of the server
  // can't be read (`cause` says why): then the connection counts as lost, and what is missing comes with the next one; where
  // it names a document that can't take it in, that one alone is asked for again.
  | "ERROR";

export interface Problem {
  readonly code: ProblemCode;
  /** What is wrong, where, and the way out. */
  readonly message: string;
  readonly type?: string;
  readonly id?: string;
  /** The server's error, where there is one (docs/reference/protocol.md): code, index, path, ... */
  readonly refusal?: Readonly<Record<string, Json>>;
  /** The refused edit, so that it can be shown and given again. */
  readonly operations?: Patch;
  readonly cause?: unknown;
}

// -------------------------------------------------------------------------------------------------- documents

export interface DocumentOptions {
  /**
   * What becomes of an edit that takes the place of something its author had not seen. `merge` (default):
   * committed, and listed in `conflicts`. `ask`: held back until `resolve` is called. Where a document is open
   * already, it goes on as the last `open` that said so wanted: `ask` is taken back by `merge`, not by leaving it out. It
   * is kept with the edits that wait.
   */
  onConflict?: "merge" | "ask";
}

export type Role = "viewer" | "editor" | "admin";

/**
 * `loading`: nothing known yet. `ready`: there is a view (from the store or the server). `forbidden`: the token
 * doesn't grant it (any more), or its id can't be one, which `onProblem` tells. `closed`: `close` was called as
 * often as `open`.
 */
export type DocumentStatus = "loading" | "ready" | "forbidden" | "closed";

export interface DocumentSnapshot<T> {
  readonly status: DocumentStatus;
  /** What the user sees: the server's state and all own edits. Null: nothing there yet, or deleted. */
  readonly view: T | null;
  /** The server's version that `view` stands on; 0 is a document that doesn't exist yet. */
  readonly version: number;
  readonly role: Role | null;
  /** `role` allows edits (true as well while it is unknown, offline or over HTTP). */
  readonly canEdit: boolean;
  /** Has it been deleted (or not been created yet)? `create` makes it. */
  readonly isDeleted: boolean;
  /** Edits that the server has not acknowledged. */
  readonly pending: number;
  /** Is all that is pending in the durable store? */
  readonly isStored: boolean;
  /** Is `view` up to date, as far as a live connection can tell? */
  readonly isLive: boolean;
  readonly canUndo: boolean;
  readonly canRedo: boolean;
  /** Not resolved yet, oldest first. */
  readonly conflicts: readonly Conflict[];
}

/** An edit met something that its author had not seen. */
export interface Conflict {
  /** For `resolve` and for a list's keys. */
  readonly id: string;
  /** JSON pointer of the place, where it is now. */
  readonly path: string;
  /**
   * `overwrote`: mine took the place of `theirs`. `dropped`: mine had no effect. `refused`: mine is held back
   * (`onConflict: "ask"`). `merged`: a merge in the client kept theirs.
   */
  readonly kind: "overwrote" | "dropped" | "refused" | "merged";
  /** The value that the author saw; undefined where there was none. */
  readonly base: Json | undefined;
  readonly mine: Json | undefined;
  readonly theirs: Json | undefined;
  /** Those of `base` and `theirs` that are too long to be told; `resolve` fetches what it needs. */
  readonly omitted: readonly ("base" | "theirs")[];
  /** Who wrote `theirs`, in which version, when (Unix ms); null where nobody knows. */
  readonly userId: string | null;
  readonly version: number | null;
  readonly timestamp: number | null;
  /** Why what it was resolved with last could not be written, or was refused. */
  readonly problem?: string;
}

/** `value` is the merge editor's result. */
export type Resolution = "mine" | "theirs" | { readonly value: Json };

/** A change of the view, told to `onChange` in order: carets and animations follow it. */
export interface ViewChange {
  readonly before: Json;
  readonly after: Json;
  /** `local`: this object's `edit`, `undo` or `redo`, of the user's own. `remote`: everything else. */
  readonly origin: "local" | "remote";
  /**
   * Where a UTF-16 offset in the text at a JSON pointer went (a caret, a selection's end), or null where there
   * is no text any more. With `stays` text inserted exactly there comes after it; default: before it when
   * `origin` is local, after it when remote.
   */
  carry(path: string, offset: number, stays?: boolean): number | null;
}

/** A document edited together with others. Its snapshot is what there is to show. */
export interface SharedDocument<T = Json> extends Readable<DocumentSnapshot<T>> {
  readonly type: string;
  readonly id: string;
  readonly presence: PresenceRoom;

  /** It isn't `loading` any more: from the store, the server, nothing anywhere (version 0), or it is `forbidden`. */
  ready(): Promise<void>;
  /**
   * Edit the view at once; all or nothing. Throws `EditError` where the view doesn't take it, the role
   * doesn't allow it, nothing is loaded yet, or the document was closed. With `isOwn` false it is nothing that the user
   * did: undo leaves it, and carets take it for another's.
   */
  edit(operations: PatchOperation | Patch, isOwn?: boolean): void;
  /** Set a member (`add` or `replace`): `set("/title", "Sync")`. */
  set(path: string, value: Json): void;
  remove(path: string): void;
  /** Make a text be `text`: sent as what was typed (a `text` operation), so concurrent typing merges. */
  setText(path: string, text: string): void;
  /** Create it where it doesn't exist (or was deleted). Throws as `edit` does. */
  create(value: T): void;
  /** Delete it, for everybody (admins). Resolves when the server has done it; rejects as `edit` throws and `saved` rejects. */
  delete(): Promise<void>;

  /** Takes back one's own last edit, as far as others left it; with `isWanted` only where that likes what comes of it. */
  undo(isWanted?: (after: T | null) => boolean): void;
  redo(isWanted?: (after: T | null) => boolean): void;

  /** Every edit so far is acknowledged by the server. Rejects where one is refused, or the document ends before. */
  saved(): Promise<void>;
  /** Every edit so far is in the durable store. */
  stored(): Promise<void>;

  /**
   * Where it can't be written, for what it was made in is gone, the conflict stays and its `problem` says why. Several
   * that belong together are written in one patch.
   */
  resolve(conflict: string | readonly string[], resolution: Resolution): void;

  /** The document as it was: at a version, or at a time. */
  at(when: number | Date): Promise<{ version: number; document: T | null }>;
  /** Who changed what and when, newest first. */
  history(query?: HistoryQuery): Promise<HistoryPage>;
  /** Make the document as it was at a version: an edit like any other, which can be undone. */
  restore(version: number): Promise<void>;

  /** Each change of the view, after it happened and before `subscribe`'s listeners are called. */
  onChange(listener: (change: ViewChange) => void): () => void;
  /**
   * Release it, once for each `open`, for that gives all the same object. The last one unsubscribes, once all is sent; from
   * then on an edit throws `CLOSED`.
   */
  close(): void;
}

export interface HistoryQuery {
  /** Changes older than this version (for the next page: `next` of the one before). */
  before?: number;
  from?: number;
  userId?: string;
  since?: Date;
  until?: Date;
  limit?: number;
  /** What somebody typed into one text without a longer pause is one entry: the newest of those changes. */
  joinTyping?: boolean;
  /** With each change what it did, as the server tells it to people: `summary`. */
  inWords?: boolean;
}

export interface HistoryEntry {
  readonly version: number;
  /** The first version that it stands for: `version`, or where the typing began that `joinTyping` made one of. */
  readonly oldest: number;
  readonly userId: string;
  readonly clientId: string;
  /** Unix ms. */
  readonly timestamp: number;
  readonly operations: Patch;
  /** The version that this one took back, where it is an undo or redo. */
  readonly undoes: number | null;
  /** "moved from 10:00 to 11:00", where `inWords` asked for it. */
  readonly summary: string | null;
}

export interface HistoryPage {
  readonly entries: readonly HistoryEntry[];
  /** `before` of the next page, or null at the end. */
  readonly next: number | null;
}

// --------------------------------------------------------------------------------------------------- presence

/** Somebody in a document: the RFC's `Presence`, as it comes from the server. */
export interface Presence {
  readonly user_id: string;
  readonly user: {
    readonly id: string;
    readonly name: string;
    readonly avatar_url: string;
    /** `#rrggbb`: the same in everybody's eyes, and different from others' in the room as far as colours go. */
    readonly color: string;
  };
  /** `field` is empty where nothing is focused. */
  readonly cursor: Cursor;
  readonly is_typing: boolean;
  /** Unix ms. */
  readonly last_seen: number;
  readonly client_id: string;
  readonly session_id: string;
}

/** Where somebody is: `position` is the caret and `anchor` the selection's other end, UTF-16 offsets in the view. */
export interface Cursor {
  readonly field: string;
  readonly position?: number;
  readonly anchor?: number;
}

export interface PresenceSnapshot {
  /** The others, in the order of their coming. */
  readonly others: readonly Presence[];
  /** This client's own entry, where it is visible and known. */
  readonly self: Presence | null;
  /** All who are here, also those that a crowded room doesn't list. */
  readonly count: number;
}

export interface PresenceRoom extends Readable<PresenceSnapshot> {
  /** Where this user is. `null` leaves every field. Moves are conflated and carried through text changes. */
  setCursor(cursor: Cursor | null): void;
  /** Ends by itself 5 s after the last call with true. Local edits of texts call it by themselves. */
  setTyping(isTyping: boolean): void;
}

// -------------------------------------------------------------------------------------------------- calendars

export interface Summary {
  readonly type: string;
  readonly id: string;
  readonly version: number;
  readonly title: string | null;
  readonly start_time: string | null;
  readonly end_time: string | null;
}

export interface CalendarSnapshot {
  readonly status: "loading" | "ready" | "forbidden";
  /** By start, those without one last; then by id. */
  readonly items: readonly Summary[];
  /** Kept up to date by the server (else: as of the last poll). */
  readonly isLive: boolean;
}

/** Summaries that stay up to date until `close` is called. */
export interface Summaries extends Readable<CalendarSnapshot> {
  close(): void;
}

export interface Calendar extends Summaries {
  readonly id: string;
}

export interface ListQuery {
  calendarId?: string;
  from?: Date;
  to?: Date;
  after?: string;
  limit?: number;
}

export interface ListPage {
  readonly items: readonly Summary[];
  /** `after` of the next page, or null at the end. */
  readonly next: string | null;
}

export interface SearchQuery {
  q: string;
  type?: string;
  userId?: string;
  since?: Date;
  until?: Date;
  /** `next` of the page before. */
  after?: string;
  limit?: number;
}

// ---------------------------------------------------------------------------------------------------- the store

/**
 * A durable map from strings to JSON values. Two dozen lines make one of AsyncStorage or SQLite.
 *
 * `write` is all or nothing, and done when it is durable. Where there is no room it rejects with a
 * `StoreFullError`; a value that can't be read makes `read` reject with a `StoreCorruptError`.
 */
export interface Store {
  /** Tabs whose stores have the same name share one: one of them owns it, the others follow. None: not shared. */
  readonly name?: string;
  /** Undefined, or null, where nothing was written. */
  read(key: string): Promise<Json | undefined>;
  /** Undefined deletes. */
  write(changes: ReadonlyMap<string, Json | undefined>): Promise<void>;
  keys(prefix: string): Promise<string[]>;
  /**
   * Calls `listener` each time all that was stored may be gone, as where a site's data is cleared, until the returned
   * function is called: the client looks whether it is.
   */
  watch?(listener: () => void): () => void;
  close(): Promise<void>;
}

// ---------------------------------------------------------------------------------------------- the environment

/** What the platform gives. Nothing of it is touched when the package is imported. */
export interface Environment {
  webSocket: (url: string, protocols: string[]) => Socket;
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Milliseconds since whenever, to measure time with. */
  now: () => number;
  /** In [0, 1). */
  random: () => number;
  setTimeout: (callback: () => void, delayMs: number) => unknown;
  clearTimeout: (timer: unknown) => void;
  /** Null: the platform doesn't tell, so the network counts as there. */
  network: Signal | null;
  /** Is the application in the foreground? Null: always. */
  foreground: Signal | null;
  /** Tells when the user does something, to come back after 4408. Null: coming to the foreground is all. */
  activity: { subscribe(listener: () => void): () => void } | null;
  /** One tab owns a queue. Undefined: Web Locks. Null: this client is the only one of its store. */
  locks: Locks | null | undefined;
  /** A channel among the tabs of an origin. Undefined: a BroadcastChannel. Null: no other tabs. */
  channel: ((name: string) => Channel) | null | undefined;
}

/** Something that is on or off, and tells. */
export interface Signal {
  isOn(): boolean;
  subscribe(listener: () => void): () => void;
}

/** What a socket calls: a platform's own says more of an event. */
type Heard<E> = { call(event: E): void }["call"] | null;

/** The part of a WebSocket that is used. A browser's, Node's and those of packages fit. */
export interface Socket {
  onopen: Heard<unknown>;
  onmessage: Heard<{ data: unknown }>;
  onclose: Heard<{ code: number; reason: string }>;
  onerror: Heard<unknown>;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface Locks {
  /** Waits for the lock and resolves with its release. The signal gives up: the promise rejects. */
  acquire(name: string, options: { signal: AbortSignal; onLost: () => void }): Promise<() => void>;
  /** Takes it from whoever has it, whose `onLost` is called. */
  steal(name: string, options: { onLost: () => void }): Promise<() => void>;
}

export interface Channel {
  post(message: Json): void;
  onmessage: ((message: Json) => void) | null;
  close(): void;
}
