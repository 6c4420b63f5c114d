"use client";

/** React hooks and components for documents that people edit together. */
export { useCalendar } from "./calendar.js";
export { ConflictDialog, type ConflictDialogProps } from "./components/conflict-dialog.js";
export { ConnectionBadge } from "./components/connection-badge.js";
export { CursorOverlay, type CursorOverlayProps } from "./components/cursor-overlay.js";
export { HistoryPanel, type HistoryPanelProps } from "./components/history-panel.js";
export {
  PresenceIndicators,
  type PresenceIndicatorsProps,
  TypingIndicator,
} from "./components/presence-indicators.js";
export {
  type Disputed,
  type LiveDocument,
  textAt,
  useConflicts,
  useEditable,
  useField,
  useRealtimeDocument,
  useRealtimeEvent,
  useText,
} from "./documents.js";
export { usePresence } from "./presence.js";
export { GatewayProvider, type GatewayProviderProps, useClient } from "./provider.js";
export { type SyncStatus, useSyncStatus } from "./sync.js";
export {
  type Overtyped,
  type Retyped,
  retyped,
  type TextFieldProps,
  through,
  useTextField,
} from "./text-field.js";
