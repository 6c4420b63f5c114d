/** The events of a calendar, or some events by name. */

import {
  byStart,
  type CalendarSnapshot,
  type Client,
  type Readable,
  type SharedDocument,
  type Summary,
} from "@collab/client";
import { useOpened, useReadable } from "./readable.js";

type Opened = Readable<CalendarSnapshot> & { close(): void };

const LOADING: CalendarSnapshot = { status: "loading", items: [], isLive: false };

/** Summaries that stay up to date: of a calendar's events, or of the events with these ids. */
export function useCalendar(source: string | readonly string[]): CalendarSnapshot {
  const opened = useOpened<Opened>(JSON.stringify(source), (client) =>
    typeof source === "string" ? client.calendar(source) : eventsOf(client, source),
  );
  return useReadable(opened, LOADING);
}

/** Some events as one readable, for one listener: each is opened, and closed with it. */
function eventsOf(client: Client, ids: readonly string[]): Opened {
  const documents = ids.map((id) => client.open("event", id));
  const events = {
    snapshot: LOADING,
    subscribe(listener: () => void) {
      const changed = () => {
        events.snapshot = summed(documents);
        listener();
      };
      const leave = documents.map((document) => document.subscribe(changed));
      changed();
      return () => {
        for (const end of leave) end();
      };
    },
    close() {
      for (const document of documents) document.close();
    },
  };
  return events;
}

function summed(documents: readonly SharedDocument[]): CalendarSnapshot {
  const snapshots = documents.map(({ snapshot }) => snapshot);
  return {
    status: snapshots.some(({ status }) => status === "loading") ? "loading" : "ready",
    items: documents
      .filter(({ snapshot }) => snapshot.view)
      .map(summaryOf)
      .sort(byStart),
    isLive: snapshots.every(({ isLive }) => isLive),
  };
}

function summaryOf({ type, id, snapshot }: SharedDocument): Summary {
  const { title = null, start_time = null, end_time = null } = snapshot.view as Partial<Summary>;
  return { type, id, version: snapshot.version, title, start_time, end_time };
}
