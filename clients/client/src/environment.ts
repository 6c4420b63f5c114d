/** What the platform gives, found when a client is made: nothing here runs at import. */

import type { Environment, Socket } from "./api.js";

/** The globals that some platforms lack (React Native has no `document`, Node 20 no `WebSocket`). */
interface Globals {
  WebSocket: new (url: string, protocols: string[]) => Socket;
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
    webSocket: (url, protocols) => new globals.WebSocket(url, protocols), // throws where there is none
    fetch: (url, init) => fetch(url, init),
    now: () => (globals.performance ?? Date).now(), // not set back with the device's clock
    random: Math.random,
    // A timer that is set for longer fires at once.
    setTimeout: (callback, delayMs) => setTimeout(callback, Math.min(delayMs, 2 ** 31 - 1)),
    clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
    // Where a platform tells nothing of them, the network and the foreground are there.
    network: {
      isOn: () => globals.navigator?.onLine !== false,
      subscribe: (listener) => listen(globals, ["online", "offline"], listener),
    },
    foreground: {
      isOn: () => globals.document?.visibilityState !== "hidden",
      subscribe: (listener) => listen(globals.document, ["visibilitychange"], listener),
    },
    activity: { subscribe: (listener) => listen(globals, ["pointerdown", "keydown", "focus"], listener) },
    // Left undefined where there are some: what tabs make of them is loaded with tabs (tabs/platform.ts).
    locks: globals.navigator?.locks ? undefined : null,
    channel: globals.BroadcastChannel ? undefined : null,
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
