/** A day of a month, and its events: the first ones, and all of them in a list where they are many. */

import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { dayOf, dayText } from "./dates.js";
import type { Appearance } from "./days.js";
import { titleOf } from "./event.js";
import { eventAddress } from "./route.js";

/** So many are shown; one more takes the place that "+1 more" would. */
const SHOWN = 3;

interface DayProps {
  day: Date;
  isToday: boolean;
  isOutside: boolean;
  /** Does the tab key lead here, and to what is in it? */
  isTabStop: boolean;
  events: readonly Appearance[];
  visit(): void;
  add(): void;
}

export function Day({ day, isToday, isOutside, isTabStop, events, visit, add }: DayProps): ReactNode {
  const kind = [isOutside && "outside", isToday && "today"].filter(Boolean).join(" ");
  const name = dayText(day, { day: "numeric", month: "long" });
  const [isOpen, setOpen] = useState(false);
  const cell = useRef<HTMLTableCellElement>(null);
  const isCrowded = events.length > SHOWN + 1;
  // The list stays until it is closed, whatever others leave of the day meanwhile.
  const shown = isCrowded || isOpen ? Math.min(SHOWN, events.length) : events.length;
  const tabIndex = isTabStop ? 0 : -1;
  const close = () => {
    setOpen(false);
    if (!isCrowded) cell.current?.focus(); // the button that opened it goes
  };
  return (
    <td ref={cell} className={kind} tabIndex={tabIndex} onFocus={visit}>
      <time dateTime={dayOf(day)} aria-current={isToday ? "date" : undefined}>
        <span className="weekday">{dayText(day, { weekday: "long" })} </span>
        {day.getDate()}
      </time>
      <Entries events={events} shown={shown} tabIndex={tabIndex} />
      {(isCrowded || isOpen) && (
        <More count={events.length - shown} name={name} tabIndex={tabIndex} open={() => setOpen(true)} />
      )}
      {isOpen && <All day={day} events={events} close={close} />}
      <button
        type="button"
        className="add"
        tabIndex={tabIndex}
        aria-label={`New event on ${name}`}
        onClick={add}
      >
        +
      </button>
    </td>
  );
}

interface EntriesProps {
  events: readonly Appearance[];
  /** So many; the others are there on paper. */
  shown: number;
  tabIndex?: 0 | -1;
}

function Entries({ events, shown, tabIndex }: EntriesProps): ReactNode {
  if (!events.length) return null; // most days' list, which would be told of as empty
  return (
    <ul>
      {events.map(({ event, time, said }, index) => (
        <li key={event.id} className={index < shown ? undefined : "rest"}>
          <a href={eventAddress(event.id)} tabIndex={tabIndex}>
            {said && <span className="unseen">{said}</span>}
            <span className="hour" aria-hidden={said !== undefined}>
              {time}
            </span>{" "}
            <bdi title={titleOf(event)}>{titleOf(event)}</bdi>
          </a>
        </li>
      ))}
    </ul>
  );
}

interface MoreProps {
  count: number;
  name: string;
  tabIndex: 0 | -1;
  open(): void;
}

function More({ count, name, tabIndex, open }: MoreProps): ReactNode {
  return (
    <button
      type="button"
      className="more"
      tabIndex={tabIndex}
      aria-haspopup="dialog"
      aria-label={`+${count} more on ${name}`}
      onClick={open}
    >
      {`+${count} more`}
    </button>
  );
}

function All({ day, events, close }: Pick<DayProps, "day" | "events"> & { close(): void }): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const opened = dialog.current as HTMLDialogElement;
    opened.showModal();
    return () => opened.close(); // the focus goes back to where it was
  }, []);
  return (
    <dialog ref={dialog} className="all" aria-labelledby={id} onClose={close}>
      <div className="tools">
        <h2 id={id}>{dayText(day, { weekday: "long", day: "numeric", month: "long" })}</h2>
        <button type="button" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </div>
      <Entries events={events} shown={events.length} />
    </dialog>
  );
}
