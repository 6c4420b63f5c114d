/**
 * Events of which a conflict waits for the user's word. What leads to them outlasts the page: one that was deleted is in
 * no month.
 */

import type { Conflict } from "@collab/client";
import { useClient } from "@collab/react";
import { useCallback, useEffect, useMemo, useState } from "react";
import { titleOf } from "./event.js";
import type { Events } from "./events.js";
import type { Kept } from "./kept.js";
import { useKeptList } from "./kept-list.js";

export const AN_EVENT = "An event";

export interface Asked {
  readonly id: string;
  /** As it was called last, as far as that is known. */
  readonly title: string;
}

export interface Undecided {
  readonly events: readonly Asked[];
  /** Is one asked about an event (still)? */
  note(id: string, isAsked: boolean): void;
}

const without = (known: readonly Asked[], id: string): readonly Asked[] =>
  known.some((one) => one.id === id) ? known.filter((one) => one.id !== id) : known;

/** `kept`: for as long as the client's store has the conflicts. */
export function useUndecided(userId: string, { items }: Events, kept: Kept): Undecided {
  const client = useClient();
  const [events, change] = useKeptList<Asked>(kept, `collab-demo-undecided:${userId}`);
  const [titles] = useState(() => new Map<string, string>());
  const note = useCallback(
    (id: string, isAsked: boolean) =>
      change((known) => {
        const title = titles.get(id) ?? known.find((one) => one.id === id)?.title ?? AN_EVENT;
        return isAsked ? [...without(known, id), { id, title }] : without(known, id);
      }),
    [change, titles],
  );
  useEffect(() => {
    for (const item of items) titles.set(item.id, titleOf(item, AN_EVENT));
  }, [titles, items]);
  useEffect(
    () => client.onProblem(({ code, id }) => void (code === "CONFLICT" && id && note(id, true))),
    [client, note],
  );
  return useMemo(() => ({ events, note }), [events, note]);
}

/** Notes whether one is asked about the event that is open: whoever goes without an answer is led back. */
export function useAsked(
  id: string,
  isReady: boolean,
  asked: readonly Conflict[],
  { note }: Undecided,
): void {
  const isAsked = asked.length > 0;
  useEffect(() => {
    if (isReady) note(id, isAsked);
  }, [id, isReady, isAsked, note]);
}
