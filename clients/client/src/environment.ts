/** What the platform gives, found when a client is made: nothing here runs at import. */

import type { Environment, Signal, Socket } from "./api.js";

/** The globals that some platforms lack (React Native has no `document`, Node 20 no `WebSocket`). */
interface Globals {
  WebSocket?: new (url: string, protocols: string[]) => Socket;
  fetch?: typeof fetch;
  document?: EventTarget & { visibilityState: string };
  navigator?: { onLine?: boolean; locks?: unknown };
  addEventListener?: EventTarget["addEventListener"];
  removeEventListener?: EventTarget["removeEventListener"];
  BroadcastChannel?: unknown;
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
    now: () => Date.now(),
    random: () => Math.random(),
    setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
    clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
    network: networkOf(globals),
    foreground: foregroundOf(globals),
    activity: activityOf(globals),
    locks: null, // those of the platform come with the part for tabs (tabs/platform.ts)
    channel: null,
    ...given,
  };
}

/** Can tabs tell each other apart here? Null: the application says that there are no others. */
export function hasTabs(given: Partial<Environment> = {}): boolean {
  const { navigator, BroadcastChannel } = globalThis as unknown as Globals;
  const { locks = navigator?.locks, channel = BroadcastChannel } = given;
  return !!locks && !!channel;
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
