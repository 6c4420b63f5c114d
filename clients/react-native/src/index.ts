/** `@collab/react`'s hooks for React Native, with a client that knows its platform. */

export {
  GatewayProvider,
  type GatewayProviderProps,
  type LiveDocument,
  type SyncStatus,
  useCalendar,
  useClient,
  useConflicts,
  useEditable,
  useField,
  usePresence,
  useRealtimeDocument,
  useRealtimeEvent,
  useSyncStatus,
} from "@collab/react";
export { createNativeClient, type NativeClientOptions } from "./client.js";
export {
  type AppStateLike,
  appStateSignal,
  type NetInfoLike,
  nativeEnvironment,
  networkSignal,
} from "./platform.js";
export { type AsyncStorageLike, asyncStorageStore, type SqliteLike, sqliteStore } from "./stores.js";
export { type NativeTextFieldProps, type Selection, useTextField } from "./text-field.js";
