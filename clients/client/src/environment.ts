/** What the platform gives, found when a client is made: nothing here runs at import. */

import type { Channel, Environment, Json, Locks, Signal, Socket } from "./api.js";

/** The globals that some platforms lack (React Native has no `document`, Node 20 no `WebSocket`). */
interface Globals {
  WebSocket?: new (url: string, protocols: string[]) => Socket;
  fetch?: typeof fetch;
  document?: EventTarget & { visibilityState: string };
  navigator?: { onLine?: boolean; locks?: LockManager };
  addEventListener?: EventTarget["addEventListener"];
  removeEventListener?: EventTarget["removeEventListener"];
  BroadcastChannel?: typeof BroadcastChannel;
  performance?: { now(): number };
}

export function environmentOf(given: Partial<Environment> = {}): Environment {
  const globals = globalThis as unknown as Globals;
  return {
    webSocket: (url, protocols) => {
      if (!globals.WebSocket) throw new Error("No WebSocket here: pass environment.webSocket.");
      return new globals.WebSocket(url, protocols);
    },
    fetch: (url, init) => {
      if (!globals.fetch) throw new Error("No fetch here: pass environment.fetch.");
      return globals.fetch(url, init);
    },
    now: () => (globals.performance ?? Date).now(), // not set back with the device's clock
    random: () => Math.random(),
    setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
    clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
    network: networkOf(globals),
    foreground: foregroundOf(globals),
    activity: activityOf(globals),
    locks: locksOf(globals),
    channel: channelOf(globals),
    ...given,
  };
}

/** Listens to events of a target, if it is one. */
function listen(
  target: Globals | EventTarget | undefined,
  names: string[],
  listener: () => void,
): () => void {
  for (const name of names) target?.addEventListener?.(name, listener);
  return () => {
    for (const name of names) target?.removeEventListener?.(name, listener);
  };
}

function networkOf(globals: Globals): Signal | null {
  if (!globals.addEventListener || typeof globals.navigator?.onLine !== "boolean") return null;
  return {
    isOn: () => globals.navigator?.onLine !== false,
    subscribe: (listener) => listen(globals, ["online", "offline"], listener),
  };
}

function foregroundOf({ document }: Globals): Signal | null {
  if (!document) return null;
  return {
    isOn: () => document.visibilityState !== "hidden",
    subscribe: (listener) => listen(document, ["visibilitychange"], listener),
  };
}

function activityOf(globals: Globals): Environment["activity"] {
  if (!globals.document) return null;
  return { subscribe: (listener) => listen(globals, ["pointerdown", "keydown", "focus"], listener) };
}

function locksOf({ navigator }: Globals): Locks | null {
  const manager = navigator?.locks;
  if (!manager) return null;
  const request = (name: string, options: LockOptions, onLost: () => void) =>
    new Promise<() => void>((resolve, reject) => {
      let end: (() => void) | null = null;
      const held = () =>
        new Promise<void>((release) => {
          end = release;
          resolve(release);
        });
      manager.request(name, options, held).catch((error) => (end ? onLost() : reject(error)));
    });
  return {
    acquire: (name, { signal, onLost }) => request(name, { signal }, onLost),
    steal: (name, { onLost }) => request(name, { steal: true }, onLost),
  };
}

function channelOf({ BroadcastChannel }: Globals): Environment["channel"] {
  if (!BroadcastChannel) return null;
  return (name) => {
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
  };
}
