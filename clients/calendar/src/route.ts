/** Where the user is, as the address says: `#/event/ID`, `#/month/2026-11`, or this month; nowhere with a mangled ID. */

import { useEffect, useSyncExternalStore } from "react";
import { dayOf } from "./dates.js";
import { useToday } from "./today.js";

type Route =
  | { readonly page: "month"; readonly month: string }
  | { readonly page: "event"; readonly id: string }
  | { readonly page: "nowhere" };

export const eventAddress = (id: string) => `#/event/${encodeURIComponent(id)}`;
export const monthAddress = (month: string) => `#/month/${month}`;

export const THIS_MONTH = "#/";

/** There is one window. */
let shown = THIS_MONTH;

/** The address of the month that was shown last, which one came from. */
export const monthBefore = (): string => shown;

export function useRoute(): Route {
  const today = useToday();
  const hash = useSyncExternalStore(
    (listener) => {
      addEventListener("hashchange", listener);
      return () => removeEventListener("hashchange", listener);
    },
    () => location.hash,
  );
  const route = routeOf(hash, today);
  useEffect(() => {
    if (route.page === "month") shown = hash || THIS_MONTH;
  }, [route.page, hash]);
  return route;
}

function routeOf(hash: string, today: string): Route {
  const [, page, argument] = hash.split("/");
  if (page === "event" && argument) return eventOf(argument);
  const isAsked = page === "month" && argument && isMonth(argument);
  return { page: "month", month: isAsked ? argument : today.slice(0, 7) };
}

function eventOf(argument: string): Route {
  try {
    return { page: "event", id: decodeURIComponent(argument) };
  } catch {
    return { page: "nowhere" };
  }
}

/** Is it a month whose days have dates: of the years 1 to 9999? */
export const isMonth = (month: string): boolean => /^(?!0000)\d{4}-(0[1-9]|1[0-2])$/.test(month);

/** `2026-11`, in local time. */
export function monthOf(date: Date): string {
  return dayOf(date).slice(0, 7);
}
