/** Who makes an event, and goes away from it without a word in it, didn't want one: it is taken away again. */

import type { Json } from "@collab/client";
import { type ReactNode, type RefObject, useEffect, useLayoutEffect, useRef } from "react";
import { isAsMade, type SharedEvent } from "./event.js";
import type { Events } from "./events.js";
import { ofThisBrowser } from "./kept.js";
import { eventAddress } from "./route.js";

/** Comes after the fields: those that are left while a word is being composed write it as they go. */
export function Untouched({ document, events }: { document: SharedEvent | null; events: Events }): ReactNode {
  const { changed } = events;
  const isElsewhere = useElsewhere(document?.id);
  useLayoutEffect(
    () => () => {
      if (!document || !isLeft(document) || !isUntouched(document) || !isAlone(document)) return;
      if (isElsewhere.current) return;
      changed(document.id); // it is open until that is sent
      takeAway(document);
    },
    [document, changed, isElsewhere],
  );
  return null;
}

const SHOWN = "collab-demo-shown";

/** Has another tab of this browser shown the event meanwhile? The gateway takes all tabs of a user for one. */
function useElsewhere(id: string | undefined): RefObject<boolean> {
  const isElsewhere = useRef(false);
  useEffect(() => {
    if (!id) return;
    const [asked, answered] = [`?${id}`, `!${id}`];
    const tell = (word: string) => {
      ofThisBrowser.set(SHOWN, word); // which the others hear
      ofThisBrowser.set(SHOWN, null);
    };
    const hear = ({ key, newValue }: StorageEvent) => {
      if (key !== SHOWN || (newValue !== asked && newValue !== answered)) return;
      isElsewhere.current = true;
      if (newValue === asked) tell(answered);
    };
    addEventListener("storage", hear);
    tell(asked);
    return () => removeEventListener("storage", hear);
  }, [id]);
  return isElsewhere;
}

/** Whoever signs out stays where they are. */
const isLeft = ({ id }: SharedEvent): boolean => location.hash !== eventAddress(id);

/** Was it made here, and nothing done in it since? What one wrote at once may be of its first version. */
const isUntouched = ({ id, snapshot: { view, version, pending, canEdit } }: SharedEvent): boolean =>
  isAsMade(id, view as Json) && version + pending === 1 && canEdit;

/** Is it known that nobody else is there? Of what was never sent it is. */
function isAlone({ snapshot, presence }: SharedEvent): boolean {
  const { self, count } = presence.snapshot;
  return snapshot.version === 0 || (snapshot.isLive && self !== null && count === 1);
}

/** As it is here, or not at all: where somebody else wrote in it meanwhile, the gateway refuses it. */
function takeAway(document: SharedEvent): void {
  const value = document.snapshot.view as never;
  document.edit([
    { op: "test", path: "", value },
    { op: "replace", path: "", value: null },
  ]);
}
