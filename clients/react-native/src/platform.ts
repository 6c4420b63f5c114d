/** What React Native tells: the app's state and the network. */

import type { Environment, Signal } from "@collab/client";

/** React Native's `AppState`, as far as it is used. */
export interface AppStateLike {
  readonly currentState: string | null | undefined;
  addEventListener(type: "change", listener: (state: string) => void): { remove(): void };
}

/** `@react-native-community/netinfo`'s default export, as far as it is used. */
export interface NetInfoLike {
  addEventListener(listener: (state: { isConnected: boolean | null }) => void): () => void;
}

/** Is the app in front? `inactive` (a call comes in, the app switcher is open) still counts. */
export function appStateSignal(appState: AppStateLike): Signal {
  return {
    isOn: () => appState.currentState !== "background",
    subscribe: (listener) => {
      const subscription = appState.addEventListener("change", listener);
      return () => subscription.remove();
    },
  };
}

/** Is there a network? While it isn't known, there is. */
export function networkSignal(netInfo: NetInfoLike): Signal {
  const listeners = new Set<() => void>();
  let isConnected = true;
  let end: (() => void) | null = null;
  const changed = (state: { isConnected: boolean | null }) => {
    if ((state.isConnected !== false) === isConnected) return;
    isConnected = !isConnected;
    for (const listener of [...listeners]) listener();
  };
  return {
    isOn: () => isConnected,
    subscribe: (listener) => {
      listeners.add(listener);
      end ??= netInfo.addEventListener(changed);
      return () => {
        listeners.delete(listener);
        if (listeners.size) return;
        end?.();
        end = null;
      };
    },
  };
}

/** The parts of a client's environment that differ on React Native. */
export function nativeEnvironment(appState: AppStateLike, netInfo?: NetInfoLike): Partial<Environment> {
  return {
    foreground: appStateSignal(appState),
    network: netInfo ? networkSignal(netInfo) : null,
    activity: null,
    locks: null,
    channel: null,
  };
}
