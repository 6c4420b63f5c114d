/** The calendar's events as far as this browser knows them: as they are, or were when it last heard of them. */

import type { CalendarSnapshot, Summary } from "@collab/client";
import { useCalendar } from "@collab/react";
import { useCallback, useEffect, useState } from "react";
import { CALENDAR } from "./event.js";
import { type Kept, ofThisBrowser } from "./kept.js";

const keptKey = (userId: string) => `collab-demo-events:${userId}`;
const madeKey = (userId: string) => `collab-demo-made:${userId}`;

export interface Events extends CalendarSnapshot {
  /** An event was made here: it is shown before the gateway knows of it. */
  made(id: string): void;
}

/** `madeIn` keeps which events were made here, as far and as long as the client's store has them. */
export function useEvents(userId: string, madeIn: Kept): Events {
  const calendar = useCalendar(CALENDAR);
  const [kept] = useState(() => listOf<Summary>(ofThisBrowser, keptKey(userId)));
  const { ids, change } = useMade(madeIn, madeKey(userId));
  const own = useCalendar(ids);
  const { status, isLive } = calendar;
  const told = status === "loading" ? kept : calendar.items;
  useKept(keptKey(userId), status === "loading" ? null : calendar.items);
  useEffect(() => {
    const over = settled(ids, calendar, own);
    if (over.length) change((known) => known.filter((id) => !over.includes(id)));
  }, [ids, calendar, own, change]);
  const made = useCallback((id: string) => change((known) => [...known, id]), [change]);
  return { status, isLive, items: merged(told, own.items), made };
}

type Ids = readonly string[];

/** Events that were made here. What changes is kept at once, and other tabs that `kept` is for have it. */
function useMade(kept: Kept, key: string): { ids: Ids; change(to: (known: Ids) => Ids): void } {
  const [ids, setIds] = useState<Ids>(() => listOf(kept, key));
  useEffect(() => {
    const follow = (event: StorageEvent) => event.key === key && setIds(listOf(kept, key));
    addEventListener("storage", follow);
    return () => removeEventListener("storage", follow);
  }, [kept, key]);
  const change = useCallback(
    (to: (known: Ids) => Ids) => {
      setIds(to);
      kept.set(key, JSON.stringify(to(listOf(kept, key))));
    },
    [kept, key],
  );
  return { ids, change };
}

/** Of events that were made here (`own`, by `ids`) those that the calendar tells of, everybody has or that are gone. */
export function settled(ids: Ids, calendar: CalendarSnapshot, own: CalendarSnapshot): Ids {
  if (calendar.status === "loading") return [];
  const told = new Set(calendar.items.map(({ id }) => id));
  const unsent = new Set(own.items.filter(({ version }) => !version).map(({ id }) => id));
  const isKnown = calendar.isLive && own.status !== "loading";
  return ids.filter((id) => told.has(id) || (isKnown && !unsent.has(id)));
}

/** What was told, and of the others those that it lacks. By start. */
export function merged(told: readonly Summary[], own: readonly Summary[]): readonly Summary[] {
  const ids = new Set(told.map(({ id }) => id));
  const lacking = own.filter(({ id }) => !ids.has(id));
  if (!lacking.length) return told;
  const start = ({ start_time }: Summary) => Date.parse(start_time ?? "9999");
  return [...told, ...lacking].sort((one, other) => start(one) - start(other) || 0); // NaN: one has no time that can be read
}

/** Keeps a list, which is long and changes often, when the page goes out of sight. Null: there is none yet. */
function useKept(key: string, list: readonly unknown[] | null): void {
  useEffect(() => {
    const keep = () => list && ofThisBrowser.set(key, JSON.stringify(list));
    addEventListener("pagehide", keep);
    document.addEventListener("visibilitychange", keep);
    return () => {
      removeEventListener("pagehide", keep);
      document.removeEventListener("visibilitychange", keep);
    };
  }, [key, list]);
}

function listOf<T>(kept: Kept, key: string): readonly T[] {
  try {
    const list: unknown = JSON.parse(kept.get(key) ?? "[]");
    return Array.isArray(list) ? list : [];
  } catch {
    return [];
  }
}
