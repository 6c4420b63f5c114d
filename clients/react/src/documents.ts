/** Documents as hooks. */

import {
  type Client,
  type Conflict,
  type DocumentOptions,
  type DocumentSnapshot,
  type Json,
  type Resolution,
  type SharedDocument,
  valueAt,
} from "@collab/client";
import { useCallback } from "react";
import { useOpened, useReadable } from "./readable.js";

export type LiveDocument<T> = DocumentSnapshot<T> & {
  /** What edits it; null for the first moment. */
  readonly document: SharedDocument<T> | null;
};

const LOADING: DocumentSnapshot<never> = {
  status: "loading",
  view: null,
  version: 0,
  role: null,
  canEdit: false,
  isDeleted: false,
  pending: 0,
  isStored: true,
  isLive: false,
  canUndo: false,
  canRedo: false,
  conflicts: [],
};

/** A document for as long as the component shows it: its snapshot, and `document` to edit it with. */
export function useRealtimeDocument<T = Json>(
  type: string,
  id: string,
  options?: DocumentOptions,
): LiveDocument<T> {
  const open = (client: Client) => client.open<T>(type, id, options);
  const document = useOpened(`${type}:${id}`, open, options?.onConflict);
  return { ...useReadable(document, LOADING), document };
}

/** The event `id`, live (RFC-002's hook). */
export function useRealtimeEvent<T = Json>(id: string, options?: DocumentOptions): LiveDocument<T> {
  return useRealtimeDocument<T>("event", id, options);
}

/** May it be edited now? Not while it loads, by viewers, or when it was deleted. */
export const isEditable = <T>({ canEdit, isDeleted }: DocumentSnapshot<T>): boolean => canEdit && !isDeleted;

/** `isEditable`, of a document that a component shows. */
export function useEditable<T>(document: SharedDocument<T> | null): boolean {
  return useReadable(document, LOADING, isEditable);
}

/** Of a document what its conflicts need: an application may tell them in its own way. */
export type Disputed<T> = Pick<SharedDocument<T>, "snapshot" | "subscribe" | "resolve">;

/** The conflicts that nobody has resolved yet, and what resolves one. */
export function useConflicts<T>(document: Disputed<T> | null): {
  readonly conflicts: readonly Conflict[];
  resolve(id: string, resolution: Resolution): void;
} {
  const conflicts = useReadable(document, LOADING, (snapshot) => snapshot.conflicts);
  const resolve = useCallback(
    (id: string, resolution: Resolution) => document?.resolve(id, resolution),
    [document],
  );
  return { conflicts, resolve };
}

/** The text at a JSON pointer; "" where there is none. */
export function textAt(view: Json, path: string): string {
  const text = valueAt(view, path);
  return typeof text === "string" ? text : "";
}

/** `textAt`, of a document that a component shows. */
export function useText<T>(document: SharedDocument<T> | null, path: string): string {
  return useReadable(document, LOADING, (snapshot) => textAt(snapshot.view as Json, path));
}

/** One member of a document: its value, and what sets it. Renders again only when the value changes. */
export function useField<V extends Json = Json, T = unknown>(
  document: SharedDocument<T> | null,
  path: string,
): [V | undefined, (value: V) => void] {
  const value = useReadable(document, LOADING, (snapshot) => valueAt(snapshot.view as Json, path) as V);
  const set = useCallback((next: V) => document?.set(path, next), [document, path]);
  return [value, set];
}
