/** Taking back what one did oneself. */

import { type LiveDocument, useClient } from "@collab/react";
import { type ReactNode, type RefObject, useEffect, useState } from "react";
import type { EventDocument, SharedEvent } from "./event.js";
import { ofThisTab } from "./kept.js";

type Undoable = Pick<LiveDocument<EventDocument>, "document" | "canUndo" | "canRedo">;

export function Undo({ document, canUndo, canRedo }: Undoable): ReactNode {
  return (
    <>
      <Way label="Undo" isOpen={canUndo} go={() => document?.undo()} />
      <Way label="Redo" isOpen={canRedo} go={() => document?.redo()} />
    </>
  );
}

/** It keeps the focus after the last step, which `disabled` would take from it. */
function Way({ label, isOpen, go }: { label: string; isOpen: boolean; go(): void }): ReactNode {
  return (
    <button type="button" aria-disabled={!isOpen} onClick={() => isOpen && go()}>
      {label}
    </button>
  );
}

const IS_APPLE = /^(Mac|iP)/.test(navigator.platform);
// As a shortcut's key is known on each keyboard: what it types may be a Cyrillic letter.
const [Y, Z] = [89, 90];

/** By keys, which repeat, nobody deletes an event: that takes a button. */
const isThere = (event: EventDocument | null): boolean => event !== null;

const WAYS: Readonly<Record<string, "undo" | "redo">> = { historyUndo: "undo", historyRedo: "redo" };

/** What somebody asks for by a key, or by a menu of the browser's. AltGr, which is Alt with Ctrl, types. */
function wayOf(event: KeyboardEvent | InputEvent): "undo" | "redo" | undefined {
  if (event.isComposing) return undefined;
  if ("inputType" in event) return WAYS[event.inputType];
  const { keyCode, shiftKey, altKey, ctrlKey, metaKey } = event;
  if (altKey || ctrlKey === IS_APPLE || metaKey !== IS_APPLE) return undefined;
  if (keyCode === Z) return shiftKey ? "redo" : "undo";
  return keyCode === Y && !IS_APPLE ? "redo" : undefined;
}

/** A browser knows no way back past what others wrote in a field: in this one it is the event's, as by the buttons. */
export function useUndoKeys(
  document: SharedEvent | null,
  ref: RefObject<HTMLInputElement | HTMLTextAreaElement | null>,
): void {
  useEffect(() => {
    const field = ref.current;
    if (!document || !field) return;
    const takeBack = (event: Event) => {
      const way = wayOf(event as KeyboardEvent | InputEvent);
      if (!way) return;
      event.preventDefault();
      if (document.snapshot.canEdit) document[way](isThere);
    };
    field.addEventListener("keydown", takeBack);
    field.addEventListener("beforeinput", takeBack);
    return () => {
      field.removeEventListener("keydown", takeBack);
      field.removeEventListener("beforeinput", takeBack);
    };
  }, [document, ref]);
}

interface ForgottenProps {
  document: SharedEvent;
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
