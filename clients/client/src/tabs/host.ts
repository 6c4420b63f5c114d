/** The leading tab's end: rooms for the documents that other tabs have open, and answers in their order. */

import type { Registry } from "../registry.js";
import { keyOf, type Payload } from "../wire.js";
import type { Note } from "./notes.js";
import { TabRoom } from "./room.js";

export class TabHost {
  #rooms = new Map<string, TabRoom>();
  #watched = new Set<string>();
  #epoch: number;

  constructor(
    readonly leader: string,
    private readonly registry: Registry,
    private readonly post: (note: Note) => void,
    /** Resolves when a tab has ended, and nothing of it is under way any more. */
    private readonly gone: (tab: string) => Promise<void>,
    epoch: number,
  ) {
    this.#epoch = epoch;
  }

  onSay({ tab, type, id, payload }: Note & { kind: "say" }): void {
    this.#watch(tab);
    const [resourceType, resourceId] = [String(payload.resource_type), String(payload.resource_id)];
    const key = keyOf(resourceType, resourceId);
    if (type === "UNSUBSCRIBE") this.#leave(key, tab);
    else void this.#room(key, resourceType, resourceId).onSay(tab, type, id, payload);
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
          const message = { type: told, id: "", timestamp: 0, payload: { ...name, ...payload } as Payload };
          const tellNow = () => this.post({ kind: "tell", tab, message });
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

  #leave(key: string, tab: string): void {
    const room = this.#rooms.get(key);
    room?.leave(tab);
    if (!room?.isEmpty) return;
    this.#rooms.delete(key);
    room.end();
  }

  #onGone(tab: string): void {
    this.#watched.delete(tab);
    for (const key of [...this.#rooms.keys()]) this.#leave(key, tab);
    this.#queues.delete(tab);
  }

  end(): void {
    for (const room of this.#rooms.values()) room.end();
    this.#rooms.clear();
  }
}
