/** Which day it is. */

import { useSyncExternalStore } from "react";
import { dayOf, midnightOf } from "./dates.js";

/** `2026-11-26`, in local time; from midnight on the next one. */
export function useToday(): string {
  return useSyncExternalStore(onMidnight, () => dayOf(new Date()));
}

/** The time zone's name. Who travels with a page has another one when it is seen again. */
export const useZone = (): string => useSyncExternalStore(onMidnight, zone);

const zone = () => new Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Calls at each midnight, and when the page is seen again: while a machine sleeps, its timers do. */
function onMidnight(listener: () => void): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const wait = () => {
    const now = new Date();
    timer = setTimeout(look, midnightOf(now, 1).getTime() - now.getTime());
  };
  const look = () => {
    clearTimeout(timer);
    listener();
    wait();
  };
  wait();
  document.addEventListener("visibilitychange", look);
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
  };
}
