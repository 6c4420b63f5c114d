/** The leading tab's end: rooms for the documents and calendars that other tabs have open, and answers in their order. */

import type { Client, Problem } from "../api.js";
import type { Registry } from "../registry.js";
import { keyOf, type Payload } from "../wire.js";
import { TabCalendar } from "./calendar.js";
import type { Note } from "./notes.js";
import { TabRoom } from "./room.js";

export class TabHost {
  #rooms = new Map<string, TabRoom>();
  #calendars = new Map<string, TabCalendar>();
  #watched = new Set<string>();
  #epoch: number;
  #unsubscribe: () => void;

  constructor(
    readonly leader: string,
    private readonly registry: Registry,
    private readonly post: (note: Note) => void,
    /** Resolves when a tab has ended, and nothing of it is under way any more. */
    private readonly gone: (tab: string) => Promise<void>,
    epoch: number,
    client: Pick<Client, "onProblem">,
  ) {
    this.#epoch = epoch;
    this.#unsubscribe = client.onProblem((problem) => this.#onProblem(problem));
  }

  /** A document's has the server's error; that of a list has none, also where the document has the calendar's name. */
  #onProblem(problem: Problem): void {
    const { code, type, id, refusal } = problem;
    if (code === "EDIT_REFUSED") this.#rooms.get(keyOf(String(type), String(id)))?.refuse(problem);
    else if (code === "ERROR" && type === "calendar" && !refusal)
      this.#calendars.get(String(id))?.fail(problem);
  }

  onSay({ tab, type, id, payload }: Note & { kind: "say" }): void {
    this.#watch(tab);
    const [resourceType, resourceId] = [String(payload.resource_type), String(payload.resource_id)];
    const key = keyOf(resourceType, resourceId);
    if (payload.children) this.#onCalendar(tab, type, resourceId);
    else if (type === "UNSUBSCRIBE") leave(this.#rooms, key, tab);
    else void this.#room(key, resourceType, resourceId).onSay(tab, type, id, payload);
  }

  #onCalendar(tab: string, type: string, id: string): void {
    if (type === "UNSUBSCRIBE") leave(this.#calendars, id, tab);
    else this.#calendar(id).join(tab);
  }

  #calendar(id: string): TabCalendar {
    const tell = (tab: string, type: string, payload: object) =>
      this.#tell(tab, type, { resource: "calendar", resource_id: id, ...payload } as Payload);
    const calendar = this.#calendars.get(id) ?? new TabCalendar(this.registry.calendar(id), tell);
    this.#calendars.set(id, calendar);
    return calendar;
  }

  #watch(tab: string): void {
    if (this.#watched.has(tab)) return;
    this.#watched.add(tab);
    this.gone(tab).then(
      () => this.#onGone(tab),
      () => {}, // another tab leads now
    );
  }

  #room(key: string, type: string, id: string): TabRoom {
    let room = this.#rooms.get(key);
    if (!room) {
      const document = this.registry.open(type, id);
      const name: Payload = { resource_type: type, resource_id: id };
      room = new TabRoom(document, this.#epoch, {
        onStanding: (standing) => this.post({ kind: "standing", leader: this.leader, key, standing }),
        tell: (tab, told, payload) => {
          const tellNow = () => this.#tell(tab, told, { ...name, ...payload } as Payload);
          // That an edit is refused is told before it counts as settled, which isn't queued either.
          if (told === "REFUSED") return tellNow();
          // An edit is answered when it is stored; nothing may overtake the answer.
          this.#queues.set(tab, this.#after(tab, told === "OP_ACK" ? document.stored() : null).then(tellNow));
        },
      });
      this.#rooms.set(key, room);
    }
    return room;
  }

  #queues = new Map<string, Promise<void>>();

  #after(tab: string, stored: Promise<void> | null): Promise<void> {
    const before = this.#queues.get(tab) ?? Promise.resolve();
    return before.then(() => stored ?? undefined).catch(() => {});
  }

  #tell(tab: string, type: string, payload: Payload): void {
    const message = { type, id: "", timestamp: 0, payload };
    this.post({ kind: "tell", leader: this.leader, tab, message });
  }

  #onGone(tab: string): void {
    this.#watched.delete(tab);
    for (const rooms of [this.#rooms, this.#calendars]) {
      for (const key of [...rooms.keys()]) leave(rooms, key, tab);
    }
    this.#queues.delete(tab);
  }

  /** The client ends with it: what other tabs have open is still open, and the next leading tab's. */
  abandon(): void {
    for (const room of this.#rooms.values()) room.abandon();
    this.#rooms.clear();
    this.end();
  }

  end(): void {
    this.#unsubscribe();
    for (const rooms of [this.#rooms, this.#calendars]) {
      for (const room of rooms.values()) room.end();
      rooms.clear();
    }
  }
}

function leave(rooms: Map<string, TabRoom | TabCalendar>, key: string, tab: string): void {
  const room = rooms.get(key);
  room?.leave(tab);
  if (!room?.isEmpty) return;
  rooms.delete(key);
  room.end();
}
