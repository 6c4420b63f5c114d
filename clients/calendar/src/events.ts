/** The calendar's events as far as this browser knows them: as they are, or were when it last heard of them. */

import type { CalendarSnapshot, DocumentSnapshot, Summary } from "@collab/client";
import { useCalendar, useClient } from "@collab/react";
import {
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { CALENDAR, titleOf } from "./event.js";
import { type Kept, ofThisBrowser } from "./kept.js";
import { listOf, useKeptList } from "./kept-list.js";
import { type Own, OwnEvents, told } from "./own-events.js";

const keptKey = (userId: string) => `collab-demo-events:${userId}`;
const changedKey = (userId: string) => `collab-demo-changed:${userId}`;

export interface Events extends CalendarSnapshot {
  /** An event was made or changed here: it is shown so before the gateway knows of it. */
  changed(id: string): void;
}

/** `changedIn` keeps which events were changed here, as far and as long as the client's store has them. */
export function useEvents(userId: string, changedIn: Kept): Events {
  const calendar = useCalendar(CALENDAR);
  const [kept] = useState(() => listOf<Summary>(ofThisBrowser, keptKey(userId)));
  const [ids, change] = useKeptList<string>(changedIn, changedKey(userId));
  const { own, open } = useOwn(ids);
  const { status, isLive } = calendar;
  const told = status === "loading" ? kept : calendar.items;
  useEffect(() => {
    const over = settled(ids, calendar, own);
    if (over.length) change((known) => known.filter((id) => !over.includes(id)));
  }, [ids, calendar, own, change]);
  const changed = useCallback(
    (id: string) => {
      open(id); // before whoever shows it closes it
      change((known) => [...new Set([...known, id])]);
    },
    [open, change],
  );
  const shown = useRef(kept);
  // After a reload what was changed here is read one event after the other.
  const items = useMemo(() => merged(told, asShown(ids, own, shown.current)), [told, ids, own]);
  useEffect(() => {
    shown.current = items;
  }, [items]);
  const lasting = changedIn === ofThisBrowser ? items : told;
  useKept(keptKey(userId), status === "loading" && !own.size ? null : lasting);
  return { status, isLive, items, changed };
}

function useOwn(ids: Ids): { own: Own; open(id: string): void } {
  const client = useClient();
  const events = useMemo(() => new OwnEvents(client), [client]);
  const open = useCallback((id: string) => events.open(id), [events]);
  useEffect(() => events.want(ids), [events, ids]);
  useEffect(() => () => events.want([]), [events]);
  return { own: useSyncExternalStore(events.subscribe, () => events.snapshot), open };
}

/** Notes an event with edits that aren't sent: while there is no connection, and when it is left. */
export function useNoted(id: string, { pending, isLive }: Unsent, { changed }: Events): void {
  const isUnsent = pending > 0;
  const isLeftUnsent = useRef(false);
  useEffect(() => {
    isLeftUnsent.current = isUnsent;
    if (isUnsent && !isLive) changed(id);
  }, [id, isUnsent, isLive, changed]);
  useLayoutEffect(
    () => () => {
      if (isLeftUnsent.current) changed(id);
    },
    [id, changed],
  );
}

type Unsent = Pick<DocumentSnapshot<unknown>, "pending" | "isLive">;
type Ids = readonly string[];

/** Of events that were changed here those that the calendar tells as they are here (`own`), or that are in neither. */
export function settled(ids: Ids, { isLive, items }: CalendarSnapshot, own: Own): Ids {
  if (!isLive) return [];
  const told = new Map(items.map((item) => [item.id, item]));
  return ids.filter((id) => {
    const [there, here] = [told.get(id), own.get(id)];
    return here === null ? !there : here && there && isAlike(here, there);
  });
}

function isAlike(one: Summary, other: Summary): boolean {
  const shown = ({ title, start_time, end_time }: Summary) =>
    JSON.stringify([title, start_time, end_time].map(told)); // a list over HTTP has more of a title
  return shown(one) === shown(other);
}

/** Events that were changed here, as they are here (`own`), or else as they were `shown`. */
function asShown(ids: Ids, own: Own, shown: readonly Summary[]): Own {
  const before = new Map(shown.map((item) => [item.id, item]));
  return new Map([...ids.map((id) => [id, before.get(id) ?? null] as const), ...own]);
}

/** What was told; but of the events that were changed here what they are here (`own`). */
export function merged(told: readonly Summary[], own: Own): readonly Summary[] {
  const others = told.filter(({ id }) => !own.has(id));
  const here = [...own.values()].filter((event) => event !== null);
  return [...others, ...here].sort(inOrder);
}

const TITLES = new Intl.Collator(undefined, { numeric: true });

/** By start, those without one last, then by title as it is shown, then by id. */
function inOrder(one: Summary, other: Summary): number {
  return (
    startOf(one) - startOf(other) ||
    TITLES.compare(titleOf(one), titleOf(other)) ||
    (one.id < other.id ? -1 : 1)
  );
}

/** Two without a start differ by NaN. */
function startOf({ start_time }: Summary): number {
  const start = Date.parse(start_time ?? "");
  return Number.isNaN(start) ? Infinity : start;
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
