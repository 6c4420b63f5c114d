/** Who changed what, when; and back to it. */

import type { HistoryEntry, SharedDocument } from "@collab/client";
import { type ReactNode, useEffect, useState } from "react";

// While somebody types, the history is read in the pauses.
const QUIET_MS = 400;

export interface HistoryPanelProps<T> {
  document: SharedDocument<T> | null;
  /** The version that is shown: a new one reads the history again. */
  version: number;
  /** May the user restore? */
  canEdit?: boolean;
  nameOf?: (userId: string) => string;
  /** A change in words. Default: the server's. */
  describe?: (entry: HistoryEntry) => ReactNode;
  /** Changes a page. */
  limit?: number;
}

/**
 * The newest changes of a document, older ones on request; each can be restored, which is an edit like any other. What
 * somebody typed without a longer pause is one.
 */
export function HistoryPanel<T>({
  document,
  version,
  canEdit = true,
  nameOf = (userId) => userId,
  describe = ({ summary }) => summary,
  limit = 20,
}: HistoryPanelProps<T>): ReactNode {
  const [entries, setEntries] = useState<readonly HistoryEntry[]>([]);
  const [next, setNext] = useState<number | null>(null);
  const [problem, setProblem] = useState("");
  const read = async (before?: number) => {
    try {
      const page = await document?.history({
        limit,
        joinTyping: true,
        inWords: true,
        ...(before && { before }),
      });
      if (!page) return;
      setEntries((known) => (before ? [...known, ...page.entries] : page.entries));
      setNext(page.next);
      setProblem("");
    } catch (error) {
      setProblem(`No history now: ${(error as Error).message}`);
    }
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new version is a new history
  useEffect(() => {
    const timer = setTimeout(read, QUIET_MS);
    return () => clearTimeout(timer);
  }, [document, version]);
  return (
    <section className="collab-history" aria-label="History">
      {problem && <p role="alert">{problem}</p>}
      <ol>
        {entries.map((entry) => (
          <li key={entry.version}>
            <b>{nameOf(entry.userId)}</b> {describe(entry)}{" "}
            <time dateTime={new Date(entry.timestamp).toISOString()}>
              {new Date(entry.timestamp).toLocaleString()}
            </time>
            {canEdit && entry.version < version && (
              <button
                type="button"
                aria-label={`Restore version ${entry.version}`}
                onClick={() =>
                  document?.restore(entry.version).catch((error: Error) => setProblem(error.message))
                }
              >
                Restore
              </button>
            )}
          </li>
        ))}
      </ol>
      {next !== null && (
        <button type="button" onClick={() => void read(next)}>
          Older changes
        </button>
      )}
    </section>
  );
}
