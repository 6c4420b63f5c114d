/** An event as this calendar shows it. */

import type { Client, Json, PatchOperation, SharedDocument } from "@collab/client";
import { instant, momentOf, spanText } from "./dates.js";
import { ofThisTab } from "./kept.js";

export const CALENDAR = "demo";
const HOUR_MS = 3_600_000;
/** So long is what fits into a field of one line, in characters as JavaScript counts them. */
export const LINE_MAX = 500;

export interface Attendee {
  readonly user_id: string;
  readonly email?: string;
  readonly response_status: Answer | "NEEDS_ACTION";
}

export type Answer = "ACCEPTED" | "TENTATIVE" | "DECLINED";

export const ANSWERS: Readonly<Record<Answer, string>> = {
  ACCEPTED: "Going",
  TENTATIVE: "Maybe",
  DECLINED: "Not going",
};

const ANSWER_BY_STATUS: ReadonlyMap<unknown, string> = new Map(Object.entries(ANSWERS));

/** An attendee's answer for people. */
export const answerOf = (status: unknown): string => ANSWER_BY_STATUS.get(status) ?? "no answer yet";

export interface EventDocument {
  readonly title?: string;
  readonly location?: string;
  readonly description?: string;
  readonly start_time?: string;
  readonly end_time?: string;
  readonly attendees?: readonly Attendee[];
  readonly calendar_id?: string;
}

export type SharedEvent = SharedDocument<EventDocument>;

/** When an event of a day begins until somebody moves it: at the next full hour of today, which has none after 23. */
export function firstStart(day: Date, now: Date): Date {
  const isToday = day.toDateString() === now.toDateString();
  const start = new Date(day);
  start.setHours(isToday ? Math.min(now.getHours() + 1, 23) : 9, 0, 0, 0);
  return start;
}

/** `crypto.randomUUID` is there in secure contexts only. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const MADE = "collab-demo-made";

/** What was made last in this tab, as JSON: its id, and what it was. A reload changes nothing of that. */
let made = ofThisTab.get(MADE);

/** Is it what was made last, and as it was made? */
export const isAsMade = (id: string, view: Json): boolean => JSON.stringify([id, view]) === made;

/** Makes an event of a day; returns its id. */
export function createEvent(client: Client, day: Date): string {
  const id = newId();
  const start = firstStart(day, new Date());
  const document = client.open<Json>("event", id);
  const value = {
    title: "",
    location: "",
    description: "",
    start_time: instant(start.getTime()),
    end_time: instant(start.getTime() + HOUR_MS),
    attendees: [],
    calendar_id: CALENDAR,
  };
  document.create(value);
  made = JSON.stringify([id, value]);
  ofThisTab.set(MADE, made);
  const release = () => document.close(); // a store that is full is told by the client
  void document.stored().then(release, release);
  return id;
}

/** What an event is called; spaces alone are no title. */
export const titleOf = ({ title }: { readonly title?: string | null }, otherwise = "Untitled"): string =>
  title?.trim() ? title : otherwise;

/** What makes a member be `value`; `before`: what it is. */
export const writing = (path: string, before: string | undefined, value: Json): PatchOperation => ({
  op: before === undefined ? "add" : "replace",
  path,
  value,
});

/** As if start and end were one member: an event's time. */
export const WHEN = "/when";

/** What a member is called on the page, and within a sentence. */
const NAMES: Readonly<Record<string, readonly [field: string, label: string]>> = {
  "": ["Event", "the event"],
  title: ["Title", "the title"],
  location: ["Location", "the location"],
  description: ["Description", "the description"],
  start_time: ["Start", "the start"],
  end_time: ["End", "the end"],
  when: ["When", "when it is"],
  attendees: ["Attendees", "who comes"],
};

/** What the field of somebody's cursor is called on the page. */
export const fieldOf = (field: string): string => NAMES[field]?.[0] ?? field;

/** A member's name for people. */
export function labelOf(path: string): string {
  if (path.endsWith("/response_status")) return "an answer";
  const member = path.split("/")[1] ?? "";
  return NAMES[member]?.[1] ?? member;
}

export const isOfTime = (path: string): boolean => path === "/start_time" || path === "/end_time";

/** A member's value for people. */
export function textOf(path: string, value: unknown): string {
  if (path === "") return value ? wholeOf(value as EventDocument) : "deleted";
  if (path.endsWith("/response_status")) return answerOf(value);
  if (path === WHEN) return whenOf(value as EventDocument);
  if (isOfTime(path)) return momentOf(new Date(String(value)));
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** A line for each thing that people wrote. */
function wholeOf(event: EventDocument): string {
  const { location, description, attendees = [] } = event;
  const answers = attendees.map((one) => `${one.user_id}: ${answerOf(one.response_status)}`);
  return [titleOf(event), whenOf(event), location, description, ...answers].filter(Boolean).join("\n");
}

/** What is missing is left out. */
function whenOf({ start_time, end_time }: EventDocument): string {
  if (start_time && end_time) return spanText(new Date(start_time), new Date(end_time));
  return [start_time, end_time].flatMap((time) => (time ? [momentOf(new Date(time))] : [])).join();
}
