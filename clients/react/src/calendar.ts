/** The events of a calendar, or some events by name. */

import { type CalendarSnapshot, eventsOf, type Summaries } from "@collab/client";
import { useOpened, useReadable } from "./readable.js";

const LOADING: CalendarSnapshot = { status: "loading", isLive: false, items: [] };

/** Summaries that stay up to date: of a calendar's events, or of the events with these ids. */
export function useCalendar(source: string | readonly string[]): CalendarSnapshot {
  const opened = useOpened<Summaries>(JSON.stringify(source), (client) =>
    typeof source === "string" ? client.calendar(source) : eventsOf(client, source),
  );
  return useReadable(opened, LOADING);
}
