/** A month and its events. */

import { useClient } from "@collab/react";
import { type MouseEvent, type ReactNode, type RefObject, useEffect, useMemo, useRef, useState } from "react";
import { dayIn, dayOf, dayText, firstWeekday, weeksOf } from "./dates.js";
import { Day } from "./day.js";
import { appearances } from "./days.js";
import { createEvent } from "./event.js";
import type { Events } from "./events.js";
import { onGridKey } from "./grid.js";
import { HEADING, Heading } from "./heading.js";
import { Awaited, Offline } from "./offline.js";
import { eventAddress, isMonth, monthAddress, monthOf } from "./route.js";
import { useToday, useZone } from "./today.js";

const FIRST_WEEKDAY = firstWeekday();

const WEEKDAYS = Array.from({ length: 7 }, (_, day) =>
  dayText(dayIn("2023-01", 1 + FIRST_WEEKDAY + day), { weekday: "short" }),
);

/** Of the day that the tab key leads to. */
export const TAB_STOP = "td[tabindex='0']";

/** A day, and the month that showed it: that may be the one before or after its own. */
export interface Visited {
  readonly month: string;
  readonly day: string;
}

interface MonthPageProps {
  month: string;
  events: Events;
  /** Where one was last, also before the event that one comes from. */
  visited: Visited | null;
  visit(day: Visited): void;
}

export function MonthPage({ month, events, visited, visit }: MonthPageProps): ReactNode {
  const { items, status, changed } = events;
  const client = useClient();
  const { weeks, byDay } = useWeeks(month, items);
  const name = dayText(dayIn(month, 1), { month: "long", year: "numeric" });
  const add = (day: Date) => {
    const id = createEvent(client, day);
    changed(id);
    visit({ month, day: dayOf(day) });
    location.hash = eventAddress(id);
  };
  const addOne = () => {
    const now = new Date();
    add(monthOf(now) === month ? now : dayIn(month, 1));
  };
  const today = useToday();
  const stop = tabStop(month, visited, today);
  const isEmpty = status === "loading" && !items.length;
  const table = useRef<HTMLTableElement>(null);
  useInView(table, isEmpty);
  return (
    <div className="month" aria-busy={isEmpty}>
      <div className="tools">
        <Heading text={name} aria-live="polite" />
        <Beside month={monthOf(dayIn(month, 1, -1))} label="Previous month" sign="‹" />
        <Today month={month} today={today} />
        <Beside month={monthOf(dayIn(month, 1, 1))} label="Next month" sign="›" />
        <button type="button" className="primary" onClick={addOne}>
          New event
        </button>
      </div>
      <Offline
        text={
          isEmpty
            ? "The events are shown as soon as there is a connection."
            : "As it was before the connection was lost. What others change is shown as soon as there is one."
        }
        otherwise={isEmpty && <Awaited text="Opening the events…" />}
      />
      {/* biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: a table of days is a grid */}
      <table ref={table} role="grid" aria-labelledby={HEADING} onKeyDown={onGridKey}>
        <thead>
          <tr>
            {WEEKDAYS.map((weekday) => (
              <th key={weekday} scope="col">
                {weekday}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {weeks.map((week) => (
            <tr key={dayOf((week[0] ?? week[1])!)}>
              {week.map((day) =>
                day ? (
                  <Day
                    key={dayOf(day)}
                    day={day}
                    isToday={dayOf(day) === today}
                    isOutside={monthOf(day) !== month}
                    isTabStop={dayOf(day) === stop}
                    visit={() => visit({ month, day: dayOf(day) })}
                    events={byDay.get(day) ?? []}
                    add={() => add(day)}
                  />
                ) : (
                  <td key="none" className="outside" tabIndex={-1} />
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** With thousands of events it takes long to say what is on which day: no key that leads from day to day waits for that. */
function useWeeks(month: string, items: Events["items"]) {
  const zone = useZone();
  // biome-ignore lint/correctness/useExhaustiveDependencies: days begin, and events are, when the zone has them
  return useMemo(() => {
    const weeks = weeksOf(month, FIRST_WEEKDAY);
    const days = weeks.flat().filter((day) => day !== null);
    return { weeks, byDay: appearances(items, days) };
  }, [month, items, zone]);
}

/** The day that the tab key leads to is seen when the page appears, and once its events are there. */
function useInView(table: RefObject<HTMLTableElement | null>, isEmpty: boolean): void {
  // biome-ignore lint/correctness/useExhaustiveDependencies: the events push the days below them down
  useEffect(() => {
    const day = table.current?.querySelector(TAB_STOP);
    const { top, bottom } = day?.getBoundingClientRect() ?? { top: 0, bottom: 0 };
    if (top < 0 || bottom > innerHeight) day?.scrollIntoView({ block: "center" });
  }, [table, isEmpty]);
}

/** The way to another month, as far as there is one. */
function Beside({ month, label, sign }: { month: string; label: string; sign: string }): ReactNode {
  return (
    isMonth(month) && (
      <a href={monthAddress(month)} className="button" aria-label={label}>
        {sign}
      </a>
    )
  );
}

/** The way to today: to its month, and there to the day, which may be far below. */
function Today({ month, today }: { month: string; today: string }): ReactNode {
  const [isSought, seek] = useState(false);
  const thisMonth = today.slice(0, 7);
  useEffect(() => {
    if (!isSought || month !== thisMonth) return;
    document.querySelector<HTMLElement>(".today")?.focus();
    seek(false);
  }, [isSought, month, thisMonth]);
  // With one of these keys it is opened elsewhere.
  const onClick = ({ ctrlKey, metaKey, shiftKey }: MouseEvent) => seek(!(ctrlKey || metaKey || shiftKey));
  return (
    <a href={monthAddress(thisMonth)} className="button" onClick={onClick}>
      Today
    </a>
  );
}

/** The day that the tab key leads to: where one was last in the month, else today, or the first of the month. */
function tabStop(month: string, visited: Visited | null, today: string): string {
  if (visited?.month === month) return visited.day;
  return today.startsWith(month) ? today : `${month}-01`;
}
