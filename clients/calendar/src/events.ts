/** The calendar's events as far as this browser knows them: as they are, or were when it last heard of them. */

import type { CalendarSnapshot, Summary } from "@collab/client";
import { useCalendar } from "@collab/react";
import { useCallback, useEffect, useState } from "react";
import { CALENDAR } from "./event.js";
import { ofThisBrowser } from "./kept.js";

const keptKey = (userId: string) => `collab-demo-events:${userId}`;
const madeKey = (userId: string) => `collab-demo-made:${userId}`;

export interface Events extends CalendarSnapshot {
  /** An event was made here: it is shown before the gateway knows of it. */
  made(id: string): void;
}

export function useEvents(userId: string): Events {
  const calendar = useCalendar(CALENDAR);
  const [kept] = useState(() => listOf<Summary>(keptKey(userId)));
  const [ids, setIds] = useState(() => listOf<string>(madeKey(userId)));
  const own = useCalendar(ids).items;
  const { status, isLive } = calendar;
  const told = status === "loading" ? kept : calendar.items;
  useKept(keptKey(userId), status === "loading" ? null : calendar.items);
  useKept(madeKey(userId), ids);
  useEffect(() => {
    if (status === "loading") return;
    const isTold = (id: string) => told.some((one) => one.id === id);
    const isOver = (id: string) =>
      isTold(id) || (isLive && own.some((one) => one.id === id && one.version > 0));
    setIds((known) => (known.some(isOver) ? known.filter((id) => !isOver(id)) : known));
  }, [status, isLive, told, own]);
  const made = useCallback((id: string) => setIds((known) => [...known, id]), []);
  return { status, isLive, items: merged(told, own), made };
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

function listOf<T>(key: string): readonly T[] {
  try {
    const list: unknown = JSON.parse(ofThisBrowser.get(key) ?? "[]");
    return Array.isArray(list) ? list : [];
  } catch {
    return [];
  }
}
