/** Am I connected, and is everything saved? */

import { Fragment, type ReactNode, useEffect, useState } from "react";
import { useSyncStatus } from "../sync.js";

// While somebody types, it changes with each key.
const QUIET_MS = 1_000;

/** A status line ("online, saved") that screen readers announce when it has changed, and stays so for a second. */
export function ConnectionBadge({ label = "Sync" }: { label?: string }): ReactNode {
  const { text, state } = useSyncStatus();
  const [told, setTold] = useState(text);
  useEffect(() => {
    const timer = setTimeout(setTold, QUIET_MS, text);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <Fragment>
      <span className={`collab-badge collab-${state}`} role="status" aria-label={label} aria-live="off">
        {text}
      </span>
      <span className="collab-told" aria-live="polite">
        <b key={told}>{told}</b>
      </span>
    </Fragment>
  );
}
