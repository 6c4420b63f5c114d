/** One event, edited together. */

import type { Conflict, Json, Presence } from "@collab/client";
import {
  ConflictDialog,
  CursorOverlay,
  type LiveDocument,
  PresenceIndicators,
  type TextFieldProps,
  useConflicts,
  usePresence,
  useRealtimeEvent,
  useTextField,
} from "@collab/react";
import { type ChangeEvent, type ReactNode, useEffect, useLayoutEffect, useMemo } from "react";
import { Attendance } from "./attendance.js";
import { fitLine, fitText, keepFit } from "./characters.js";
import { Conflicts } from "./conflicts.js";
import { momentOf } from "./dates.js";
import {
  type EventDocument,
  fieldOf,
  LINE_MAX,
  labelOf,
  type SharedEvent,
  textOf,
  titleOf,
} from "./event.js";
import { type Events, useNoted } from "./events.js";
import { Heading } from "./heading.js";
import { History } from "./history.js";
import { useLineFeeds } from "./line-feeds.js";
import { isOfLine } from "./lines.js";
import { Nothing, ToMonth } from "./nothing.js";
import { Offline } from "./offline.js";
import { eventAddress } from "./route.js";
import { Times } from "./times.js";
import { useTurned } from "./turned.js";
import { type Undecided, useAsked } from "./undecided.js";
import { Forgotten, Undo, useUndoKeys } from "./undo.js";
import { Untouched } from "./untouched.js";

interface EventPageProps {
  id: string;
  events: Events;
  undecided: Undecided;
}

export function EventPage({ id, events, undecided }: EventPageProps): ReactNode {
  const event = useRealtimeEvent<EventDocument>(id);
  useNoted(id, event, events);
  const { document, view, status } = event;
  const conflicts = useMemo(() => document && new Conflicts(document), [document]);
  useAsked(id, status === "ready", useConflicts(conflicts).conflicts, undecided);
  const isThere = status === "loading" || (status === "ready" && view !== null);
  useTurned(`${eventAddress(id)} ${isThere}`);
  if (status === "loading") return <Opening />;
  if (status === "forbidden")
    return <Nothing text="There is no such event, or this sign-in may not see it." />;
  return (
    <>
      {view === null ? <Gone {...event} /> : <Event {...event} view={view} />}
      <ConflictDialog
        document={conflicts}
        labelOf={labelOf}
        shown={textOf}
        timeOf={momentOf}
        suggest={suggest}
      />
      <Untouched document={document} events={events} />
    </>
  );
}

type Live = LiveDocument<EventDocument>;

function Event({ view, ...event }: Live & { view: EventDocument }): ReactNode {
  const { document, canEdit } = event;
  return (
    <div className="event">
      <Heading text={titleOf(view)} className="unseen" />
      <ToMonth />
      <Form document={document} canEdit={canEdit} isUntitled={!view.title} />
      <aside>
        <People document={document} />
        <div className="tools">
          <Undo {...event} />
          {canEdit && <Delete document={document} />}
        </div>
        {document && canEdit && <Forgotten document={document} isAny={event.canUndo || event.canRedo} />}
        <History document={document} canEdit={canEdit} />
      </aside>
    </div>
  );
}

/** Who deleted it, or took back that it was made, finds the way back; its history tells the others who that was. */
function Gone({ document, version, canEdit, ...event }: Omit<Live, "view">): ReactNode {
  useEffect(() => document?.presence.setCursor(null), [document]); // where one was at a time or an answer, whose fields are gone
  return (
    <>
      <Nothing text="There is no such event (any more)." />
      {(event.canUndo || event.canRedo) && (
        <div className="tools">
          <Undo document={document} {...event} />
        </div>
      )}
      {version > 0 && <History document={document} canEdit={canEdit} />}
    </>
  );
}

function Opening(): ReactNode {
  return (
    <>
      <Heading text="Opening the event…" className="note" />
      <Offline text="It is shown as soon as there is a connection." />
    </>
  );
}

interface FormProps {
  document: SharedEvent | null;
  canEdit: boolean;
  isUntitled: boolean;
}

function Form({ document, canEdit, isUntitled }: FormProps): ReactNode {
  return (
    <form className="fields" onSubmit={(event) => event.preventDefault()}>
      <fieldset disabled={!canEdit}>
        <Line document={document} path="/title" label="Title" isFocused={isUntitled} />
        <Times document={document} />
        <Line document={document} path="/location" label="Location" />
        <Text document={document} path="/description" label="Description" />
        <Attendance document={document} />
      </fieldset>
    </form>
  );
}

interface FieldProps {
  document: SharedEvent | null;
  path: string;
  label: string;
}

/** A text field that takes what `fit` leaves of what is typed or pasted. */
function useFitField<E extends HTMLInputElement | HTMLTextAreaElement>(
  document: SharedEvent | null,
  path: string,
  fit: (text: string) => string,
  options?: { whole: boolean },
): TextFieldProps<E> {
  const field = useTextField<E, EventDocument>(document, path, options);
  useUndoKeys(document, field.ref);
  const onChange = (event: ChangeEvent<E>) => {
    keepFit(event.currentTarget, fit, (event.nativeEvent as InputEvent).isComposing);
    field.onChange(event);
  };
  return { ...field, onChange };
}

/** A short text that counts as one value: two who change it at once are asked. */
function Line({ document, path, label, isFocused }: FieldProps & { isFocused?: boolean }): ReactNode {
  const field = useFitField<HTMLInputElement>(document, path, fitLine, { whole: true });
  const { ref } = field;
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, when it appears
  useLayoutEffect(() => {
    if (isFocused) ref.current?.focus();
  }, []);
  return (
    <label>
      {label}
      <span className="collab-field">
        <input {...field} maxLength={LINE_MAX} dir="auto" />
        <CursorOverlay document={document} path={path} target={field.ref} />
      </span>
    </label>
  );
}

/** A long text that several type into at once. */
function Text({ document, path, label }: FieldProps): ReactNode {
  const field = useFitField<HTMLTextAreaElement>(document, path, fitText);
  useLineFeeds(document, path, field.ref);
  return (
    <label>
      {label}
      <span className="collab-field">
        <textarea {...field} rows={8} dir="auto" />
        <CursorOverlay document={document} path={path} target={field.ref} />
      </span>
    </label>
  );
}

/** So many are listed in full height. */
const SEEN_MAX = 12;

function People({ document }: { document: SharedEvent | null }): ReactNode {
  const { others, self, count } = usePresence(document);
  const describeOne = (one: Presence) =>
    one !== self && one.cursor.field && `, editing ${fieldOf(one.cursor.field)}`;
  const listed = others.length + (self ? 1 : 0);
  return (
    // What scrolls is scrolled by keyboard too.
    <section aria-label="People" {...(listed > SEEN_MAX && { className: "crowd", tabIndex: 0 })}>
      <h2>People here</h2>
      <PresenceIndicators presences={others} self={self} describe={describeOne} />
      {count > listed && <p className="note">{`and ${count - listed} more`}</p>}
      {!listed && <Offline text="Who is here is seen as soon as there is a connection." />}
    </section>
  );
}

function Delete({ document }: { document: SharedEvent | null }): ReactNode {
  const remove = () => document?.delete().catch(() => {}); // a refusal is told by the client, and the event is back
  return (
    <button type="button" onClick={() => confirm("Delete this event for everybody?") && remove()}>
      Delete
    </button>
  );
}

/** What the merge editor begins with: both texts. What isn't a text for people is one or the other. */
function suggest({ path, mine, theirs }: Conflict): Json | undefined {
  const isLong = path === "/description";
  if (!isLong && !isOfLine({ path })) return undefined;
  if (typeof mine !== "string" || typeof theirs !== "string" || mine === theirs) return mine;
  return [theirs, mine].filter(Boolean).join(isLong ? "\n" : " / ");
}
