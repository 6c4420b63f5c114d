/** Who makes an event, and goes away from it without a word in it, didn't want one: it is taken away again. */

import type { Json, SharedDocument } from "@collab/client";
import { type ReactNode, useLayoutEffect } from "react";
import { type EventDocument, isAsMade } from "./event.js";
import type { Events } from "./events.js";
import { eventAddress } from "./route.js";

type Document = SharedDocument<EventDocument>;

/** Comes after the fields: those that are left while a word is being composed write it as they go. */
export function Untouched({ document, events }: { document: Document | null; events: Events }): ReactNode {
  const { changed } = events;
  useLayoutEffect(
    () => () => {
      if (!document || !isLeft(document) || !isUntouched(document) || !isAlone(document)) return;
      changed(document.id); // it is open until that is sent
      takeAway(document);
    },
    [document, changed],
  );
  return null;
}

/** Whoever signs out stays where they are. */
const isLeft = ({ id }: Document): boolean => location.hash !== eventAddress(id);

/** Was it made here, and nothing done in it since? What one wrote at once may be of its first version. */
const isUntouched = ({ id, snapshot: { view, version, pending, canEdit } }: Document): boolean =>
  isAsMade(id, view as Json) && version + pending === 1 && canEdit;

/** Is it known that nobody else is there? Of what was never sent it is. */
function isAlone({ snapshot, presence }: Document): boolean {
  const { self, count } = presence.snapshot;
  return snapshot.version === 0 || (snapshot.isLive && self !== null && count === 1);
}

/** As it is here, or not at all: where somebody else wrote in it meanwhile, the gateway refuses it. */
function takeAway(document: Document): void {
  const value = document.snapshot.view as never;
  document.edit([
    { op: "test", path: "", value },
    { op: "replace", path: "", value: null },
  ]);
}
