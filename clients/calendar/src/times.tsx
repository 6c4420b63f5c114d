/** When an event begins and ends: its start moves it as a whole, its end makes it longer or shorter. */

import type { PatchOperation } from "@collab/client";
import { useField } from "@collab/react";
import { type FocusEvent, type ReactNode, useId, useState } from "react";
import {
  endFrom,
  hourOf,
  instant,
  isMeant,
  isSkipped,
  isTooLate,
  LATEST,
  localTime,
  momentsAt,
  twinOf,
} from "./dates.js";
import { type EventDocument, type SharedEvent, writing } from "./event.js";
import { type FieldPresence, Here, useFieldPresence } from "./presence.js";
import { SKIPPED, TOO_LATE, TURNED } from "./words.js";

export function Times({ document }: { document: SharedEvent | null }): ReactNode {
  const [start] = useField<string, EventDocument>(document, "/start_time");
  const [end, setEnd] = useField<string, EventDocument>(document, "/end_time");
  const [atStart, atEnd] = [useFieldPresence(document, "start_time"), useFieldPresence(document, "end_time")];
  const isBefore = (time: string) => Date.parse(time) < Date.parse(start ?? "");
  return (
    <div className="pair">
      <Time
        label="Start"
        value={start}
        presence={atStart}
        objection={(time) => (isTooLate(endOf(start, end, time)) ? TOO_LATE : "")}
        set={(time) => document?.edit(moved(start, end, time))}
      />
      <Time
        label="End"
        value={end}
        presence={atEnd}
        objection={(time) => (isBefore(time) ? TURNED : "")}
        set={setEnd}
      />
    </div>
  );
}

/** One patch that has an event begin then, as long as it was: in days where it takes some. */
function moved(start: string | undefined, end: string | undefined, time: string): PatchOperation[] {
  const ends = endOf(start, end, time);
  const patch = [writing("/start_time", start, time)];
  if (!Number.isNaN(ends)) patch.push(writing("/end_time", end, instant(ends)));
  return patch;
}

/** When an event ends that begins then (Unix ms); NaN where it has no end. */
function endOf(start: string | undefined, end: string | undefined, time: string): number {
  const begins = new Date(time);
  return Math.max(begins.getTime(), endFrom(begins, new Date(start ?? time), new Date(end ?? "")));
}

interface TimeProps {
  label: string;
  value: string | undefined;
  presence: FieldPresence;
  /** Why it can't be this time; "" where it can. */
  objection: Objection;
  set(time: string): void;
}

/** A time that is kept to oneself while it is typed and isn't one yet, or can't be: leaving the field takes that back. */
function Time({ label, value, presence: { here, handlers }, objection, set }: TimeProps): ReactNode {
  const [draft, setDraft] = useState<string | null>(null);
  const [refused, setRefused] = useState<string | null>(null); // what was left, and can't be: as long as it can't
  const problemId = useId();
  const problemOf = (typed: string) =>
    isSkipped(typed) ? SKIPPED : objection(momentMeant(typed, value, objection));
  const onChange = (typed: string) => {
    const isTaken = isMeant(typed) && !problemOf(typed);
    setDraft(isTaken ? null : typed);
    setRefused(null);
    if (isTaken) set(momentMeant(typed, value, objection));
  };
  const onBlur = (event: FocusEvent) => {
    handlers.onBlur(event);
    setRefused(draft !== null && isMeant(draft) ? draft : null);
    setDraft(null);
  };
  return (
    <div>
      <label className="place">
        {label} <Here people={here} />
        <input
          type="datetime-local"
          max={`${LATEST}T23:59`}
          value={draft ?? localTime(value)}
          style={{ borderColor: here[0]?.user.color }}
          aria-describedby={problemId}
          onChange={({ target }) => onChange(target.value)}
          onFocus={handlers.onFocus}
          onBlur={onBlur}
        />
      </label>
      {value && <Twice label={label} value={value} objection={objection} set={set} />}
      <span id={problemId} role="alert">
        {refused !== null && problemOf(refused)}
      </span>
    </div>
  );
}

type Objection = (time: string) => string;

/** Of two moments that look alike it is one that can be, as the value was, or else the earlier one. */
function momentMeant(typed: string, value: string | undefined, objection: Objection): string {
  const was = new Date(value ?? "");
  const moments = momentsAt(typed);
  const possible = moments.filter((moment) => !objection(instant(moment.getTime())));
  const isAlike = (moment: Date) => moment.getTimezoneOffset() === was.getTimezoneOffset();
  const chosen = (twinOf(was) && possible.find(isAlike)) ?? possible[0] ?? (moments[0] as Date);
  return instant(chosen.getTime());
}

/** Which of two hours it is, where clocks are put back and both look alike. */
function Twice({
  label,
  value,
  objection,
  set,
}: Pick<TimeProps, "label" | "objection" | "set"> & { value: string }): ReactNode {
  const chosen = new Date(value);
  const other = twinOf(chosen);
  if (!other) return null;
  const both = [chosen, other].map((moment) => moment.getTime()).sort((one, next) => one - next);
  return (
    <select
      className="twice"
      aria-label={`${label}: which of two hours`}
      value={chosen.getTime()}
      onChange={({ target }) => set(instant(Number(target.value)))}
    >
      {both.map((time) => (
        <option key={time} value={time} disabled={objection(instant(time)) !== ""}>
          {hourOf(new Date(time))}
        </option>
      ))}
    </select>
  );
}
