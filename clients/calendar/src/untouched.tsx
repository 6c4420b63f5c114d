/** Who makes an event, and leaves it without a word in it, didn't want one: it is taken away again. */

import type { SharedDocument } from "@collab/client";
import { type ReactNode, useLayoutEffect } from "react";
import { type EventDocument, isUntouched } from "./event.js";
import type { Events } from "./events.js";

type Document = SharedDocument<EventDocument>;

/** Comes after the fields: those that are left while a word is being composed write it as they go. */
export function Untouched({ document, events }: { document: Document | null; events: Events }): ReactNode {
  const { changed } = events;
  useLayoutEffect(
    () => () => {
      if (!document || !isUntouched(document) || !isAlone(document)) return;
      changed(document.id); // it is open until that is sent
      document.delete().catch(() => {}); // a refusal is told by the client, and the event is back
    },
    [document, changed],
  );
  return null;
}

/** Is it known that nobody else is there? Of what was never sent it is. */
function isAlone({ snapshot, presence }: Document): boolean {
  const { self, count } = presence.snapshot;
  return snapshot.version === 0 || (snapshot.isLive && self !== null && count === 1);
}
