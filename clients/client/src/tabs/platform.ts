/** What browsers have for tabs that know of each other: locks, and a channel. */

import type { Channel, Json, Locks } from "../api.js";

export function locksOf(): Locks {
  const request = (name: string, options: LockOptions, onLost: () => void) =>
    new Promise<() => void>((resolve, reject) => {
      let end: (() => void) | null = null;
      const held = () =>
        new Promise<void>((release) => {
          end = release;
          resolve(release);
        });
      navigator.locks.request(name, options, held).catch((error) => (end ? onLost() : reject(error)));
    });
  return {
    acquire: (name, { signal, onLost }) => request(name, { signal }, onLost),
    steal: (name, { onLost }) => request(name, { steal: true }, onLost),
  };
}

export function broadcastChannel(name: string): Channel {
  const inner = new BroadcastChannel(name);
  const channel: Channel = {
    onmessage: null,
    post: (message) => inner.postMessage(message),
    close: () => inner.close(),
  };
  inner.onmessage = (event) => channel.onmessage?.(event.data as Json);
  // Node keeps its process alive for an open channel; a client shouldn't.
  (inner as unknown as { unref?: () => void }).unref?.();
  return channel;
}
