/** Am I connected, and is everything saved? */

import type { ReactNode } from "react";
import { useSyncStatus } from "../sync.js";

/** A status line ("online, saved") that screen readers announce when it changes. */
export function ConnectionBadge({ label = "Sync" }: { label?: string }): ReactNode {
  const { text, state } = useSyncStatus();
  return (
    <span className={`collab-badge collab-${state}`} role="status" aria-label={label}>
      {text}
    </span>
  );
}
