/** Who changed what in an event, from what to what; all of it, or of one person, or of some days. */

import type { HistoryEntry } from "@collab/client";
import { HistoryPanel } from "@collab/react";
import { type ReactNode, useCallback, useEffect, useState } from "react";
import { isMeant, LATEST, midnightOf, momentOf } from "./dates.js";
import type { EventDocument, SharedEvent } from "./event.js";
import { eventAt } from "./past.js";
import { comparedWith, describe } from "./words.js";

interface HistoryProps {
  document: SharedEvent | null;
  canEdit: boolean;
}

export function History({ document, canEdit }: HistoryProps): ReactNode {
  const [authors, setAuthors] = useState<readonly string[]>([]);
  const [userId, setUserId] = useState("");
  const [since, setSince] = useState("");
  const [until, setUntil] = useState("");
  const meet = useCallback(
    (author: string) => setAuthors((known) => (known.includes(author) ? known : [...known, author].sort())),
    [],
  );
  const query = {
    ...(userId && { userId }),
    ...(isMeant(since) && { since: new Date(`${since}T00:00`) }),
    ...(isMeant(until) && { until: midnightOf(new Date(`${until}T12:00`), 1) }),
  };
  return (
    <>
      <h2>History</h2>
      <details className="filters">
        <summary>Show a part of it</summary>
        <label>
          Changes by
          <select value={userId} onChange={({ target }) => setUserId(target.value)}>
            <option value="">Everybody</option>
            {authors.map((author) => (
              <option key={author} value={author}>
                {author}
              </option>
            ))}
          </select>
        </label>
        <Day label="Since" value={since} set={setSince} />
        <Day label="Until" value={until} set={setUntil} />
      </details>
      <HistoryPanel
        document={document}
        canEdit={canEdit}
        query={query}
        timeOf={momentOf}
        describe={(entry) => document && <Change document={document} entry={entry} meet={meet} />}
      />
    </>
  );
}

function Day({ label, value, set }: { label: string; value: string; set(day: string): void }): ReactNode {
  return (
    <label>
      {label}
      <input type="date" max={LATEST} value={value} onChange={({ target }) => set(target.value)} />
    </label>
  );
}

interface ChangeProps {
  document: SharedEvent;
  entry: HistoryEntry;
  /** Whose it is. */
  meet(author: string): void;
}

/** Where it isn't known what was there before, as offline, less is said. */
function Change({ document, entry, meet }: ChangeProps): ReactNode {
  const { userId } = entry;
  const before = useEventAt(document, comparedWith(entry));
  useEffect(() => meet(userId), [meet, userId]);
  return <span>{describe(entry, before)}</span>;
}

const AGAIN_MS = 5_000;

/** Null until it is known: what can't be asked for now is asked for again, less and less often. */
export function useEventAt(document: SharedEvent, version: number | null): EventDocument | null {
  const [event, setEvent] = useState<EventDocument | null>(null);
  useEffect(() => {
    if (version === null) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isOver = false;
    const ask = async (waitMs: number) => {
      try {
        const was = await eventAt(document, version);
        if (!isOver) setEvent(was);
      } catch {
        if (!isOver) timer = setTimeout(ask, waitMs, 2 * waitMs);
      }
    };
    void ask(AGAIN_MS);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [document, version]);
  return event;
}
