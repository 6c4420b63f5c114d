/** Who changed what, when; and back to it. */

import type { HistoryEntry, HistoryPage, HistoryQuery, SharedDocument } from "@collab/client";
import { type ReactNode, useEffect, useState } from "react";
import { useReadable } from "../readable.js";

// While somebody types, the history is read in the pauses.
const QUIET_MS = 400;

export interface HistoryPanelProps<T> {
  document: SharedDocument<T> | null;
  /** May the user restore? */
  canEdit?: boolean;
  nameOf?: (userId: string) => string;
  /** A time for people. Default: as the locale has it. */
  timeOf?: (time: Date) => string;
  /** A change in words. Default: the server's, which are asked for only then. */
  describe?: (entry: HistoryEntry) => ReactNode;
  /** Changes a page. */
  limit?: number;
  /** Whose changes, and of which time. Default: all. */
  query?: Pick<HistoryQuery, "userId" | "since" | "until">;
}

/**
 * The newest changes of a document, older ones on request; each can be restored, which is an edit like any other. What
 * somebody typed without a longer pause is one.
 */
export function HistoryPanel<T>(props: HistoryPanelProps<T>): ReactNode {
  const { document, query } = props;
  return (
    document && (
      <Changes key={JSON.stringify([document.type, document.id, query])} {...(props as ChangesProps<T>)} />
    )
  );
}

type ChangesProps<T> = HistoryPanelProps<T> & { document: SharedDocument<T> };

interface Shown extends Partial<HistoryPage> {
  readonly problem?: string;
  /** What was asked for, and by which read. */
  readonly asked?: string;
  readonly turn: number;
}

let turns = 0; // how many reads have begun: what a later one found stays

function Changes<T>({
  document,
  canEdit = true,
  nameOf = (userId) => userId,
  timeOf = (time) => time.toLocaleString(),
  describe,
  limit = 20,
  query,
}: ChangesProps<T>): ReactNode {
  const { version, isLive } = useReadable(document);
  const [count, setCount] = useState(limit);
  const [{ entries = [], next, problem, asked }, setShown] = useState<Shown>({ turn: 0 });
  const toAsk = `${version} ${count}`;
  const show = (turn: number, news: Partial<Shown>) =>
    setShown((known) => (turn < known.turn ? known : { ...known, ...news, turn }));
  // biome-ignore lint/correctness/useExhaustiveDependencies: once online, what failed is asked again
  useEffect(() => {
    if (asked === toAsk) return;
    const timer = setTimeout(() => {
      const turn = ++turns;
      document.history({ ...query, limit: count, joinTyping: true, inWords: !describe }).then(
        (page) => show(turn, { ...page, asked: toAsk, problem: "" }),
        ({ message }: Error) => show(turn, { problem: `No history now: ${message}` }),
      );
    }, QUIET_MS);
    return () => clearTimeout(timer);
  }, [document, toAsk, isLive]);
  return (
    <section className="collab-history" aria-label="History">
      {problem && <p role="alert">{problem}</p>}
      {asked && !entries.length && <p>No changes.</p>}
      <ol>
        {entries.map((entry) => {
          const time = new Date(entry.timestamp);
          const when = timeOf(time);
          return (
            <li key={entry.version}>
              <b>{nameOf(entry.userId)}</b> {describe ? describe(entry) : entry.summary}{" "}
              <time dateTime={time.toJSON()}>{when}</time>
              {canEdit &&
                entry.version < version &&
                entry.operations.every(({ path, value }: Written) => path || value) && (
                  <button
                    type="button"
                    aria-label={`Restore version ${entry.version}, ${when}, ${nameOf(entry.userId)}`}
                    onClick={() =>
                      document
                        .restore(entry.version)
                        .catch(({ message }: Error) => show(turns, { problem: message }))
                    }
                  >
                    Restore
                  </button>
                )}
            </li>
          );
        })}
      </ol>
      {next && (
        <button type="button" onClick={() => setCount(count + limit)}>
          Older changes
        </button>
      )}
    </section>
  );
}

/** An operation, as far as it says whether it deletes the document: that is no state to go back to. */
interface Written {
  path: string;
  value?: unknown;
}
