/** Taking back what one did oneself. */

import type { SharedDocument } from "@collab/client";
import { type LiveDocument, useClient } from "@collab/react";
import { type ReactNode, useEffect, useState } from "react";
import type { EventDocument } from "./event.js";
import { ofThisTab } from "./kept.js";

type Undoable = Pick<LiveDocument<EventDocument>, "document" | "canUndo" | "canRedo">;

export function Undo({ document, canUndo, canRedo }: Undoable): ReactNode {
  return (
    <>
      <button type="button" disabled={!canUndo} onClick={() => document?.undo()}>
        Undo
      </button>
      <button type="button" disabled={!canRedo} onClick={() => document?.redo()}>
        Redo
      </button>
    </>
  );
}

interface ForgottenProps {
  document: SharedDocument<EventDocument>;
  /** Can something be taken back, or done again? */
  isAny: boolean;
}

/**
 * What can be taken back is forgotten when the event is left or the page ends, when this tab comes to follow another, and
 * when an edit is refused: whoever did something is told of it.
 */
export function Forgotten({ document, isAny }: ForgottenProps): ReactNode {
  const { userId } = useClient().connection.snapshot;
  const key = `collab-demo-edited:${userId}:${document.id}`;
  const [wasAny, setWasAny] = useState(() => ofThisTab.get(key) !== null);
  useEffect(() => {
    if (!isAny) return;
    setWasAny(true);
    ofThisTab.set(key, "");
  }, [isAny, key]);
  if (!wasAny || isAny) return null;
  return <p className="note">What you did before can’t be undone any more. The history can restore it.</p>;
}
