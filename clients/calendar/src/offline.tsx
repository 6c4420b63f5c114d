/** What a page lacks while there is no connection, or an answer is long in coming. */

import { useSyncStatus } from "@collab/react";
import { type ReactNode, useEffect, useState } from "react";

/** `otherwise` is shown where there is a connection, or may be one. */
export function Offline({ text, otherwise = null }: { text: string; otherwise?: ReactNode }): ReactNode {
  const { state } = useSyncStatus().connection;
  return state === "reconnecting" || state === "denied" ? <p className="note">{text}</p> : otherwise;
}

/** So long nobody needs to be told that something is on its way. */
const MOMENT_MS = 500;

export function Awaited({ text }: { text: string }): ReactNode {
  const [isSlow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(setSlow, MOMENT_MS, true);
    return () => clearTimeout(timer);
  }, []);
  return isSlow && <p className="note">{text}</p>;
}
