/** `@collab/react`'s hooks for React Native, with a client that knows its platform. */

export * from "@collab/react";
export { createNativeClient, type NativeClientOptions } from "./client.js";
export {
  type AppStateLike,
  appStateSignal,
  type NetInfoLike,
  nativeEnvironment,
  networkSignal,
} from "./platform.js";
export { type AsyncStorageLike, asyncStorageStore, type SqliteLike, sqliteStore } from "./stores.js";
