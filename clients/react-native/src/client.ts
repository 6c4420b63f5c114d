/** A client of an app: it keeps what is edited, and spares the battery in the background. */

import { type Client, type ClientOptions, createClient } from "@collab/client";
import { AppState } from "react-native";
import { type NetInfoLike, nativeEnvironment } from "./platform.js";
import { type AsyncStorageLike, asyncStorageStore } from "./stores.js";

export interface NativeClientOptions extends ClientOptions {
  /** Keeps documents and unsent edits, where `store` isn't given. */
  asyncStorage?: AsyncStorageLike;
  /** Tells when the network comes and goes. Without it, the client finds out by trying. */
  netInfo?: NetInfoLike;
}

/**
 * As `createClient`, with the app's state, and in the background polling each 5 minutes instead of a socket.
 *
 * iOS and Android run nothing of an app that is in the background for long: what happens there happens as far as
 * they let it, and the rest at once when the app comes back.
 */
export function createNativeClient(options: NativeClientOptions): Client {
  const { asyncStorage, netInfo, environment, ...rest } = options;
  const { url, userId = "" } = options;
  const store = asyncStorage && asyncStorageStore(asyncStorage, `collab/${url}/${userId}/`);
  return createClient({
    background: "poll",
    ...(store && { store }),
    ...rest,
    environment: { ...nativeEnvironment(AppState, netInfo), ...environment },
  });
}
