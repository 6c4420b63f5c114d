/** An event as this calendar shows it. */

import type { Client, Json } from "@collab/client";
import { instant } from "./dates.js";

export const CALENDAR = "demo";
const HOUR_MS = 3_600_000;

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

/** An attendee's answer for people. */
export const answerOf = (status: unknown): string => ANSWERS[status as Answer] ?? "no answer yet";

export interface EventDocument {
  readonly title?: string;
  readonly location?: string;
  readonly description?: string;
  readonly start_time?: string;
  readonly end_time?: string;
  readonly attendees?: readonly Attendee[];
}

/** Makes an event that begins at the next full hour of a day; returns its id. */
export function createEvent(client: Client, day: Date): string {
  const id = crypto.randomUUID();
  const start = new Date(day);
  if (day.toDateString() === new Date().toDateString()) start.setHours(new Date().getHours() + 1, 0, 0, 0);
  else start.setHours(9, 0, 0, 0);
  const document = client.open<Json>("event", id);
  document.create({
    title: "",
    location: "",
    description: "",
    start_time: instant(start.getTime()),
    end_time: instant(start.getTime() + HOUR_MS),
    attendees: [],
    calendar_id: CALENDAR,
  });
  const release = () => document.close(); // a store that is full is told by the client
  void document.stored().then(release, release);
  return id;
}

const NAMES: Readonly<Record<string, string>> = {
  "": "the event",
  title: "the title",
  location: "the location",
  description: "the description",
  start_time: "the start",
  end_time: "the end",
  attendees: "who comes",
};

const FIELDS: Readonly<Record<string, string>> = {
  title: "Title",
  location: "Location",
  description: "Description",
  start_time: "Start",
  end_time: "End",
  attendees: "Attendees",
};

/** What the field of somebody's cursor is called on the page. */
export const fieldOf = (field: string): string => FIELDS[field] ?? field;

/** A member's name for people. */
export function labelOf(path: string): string {
  if (path.endsWith("/response_status")) return "an answer";
  const member = path.split("/")[1] ?? "";
  return NAMES[member] ?? member;
}

/** A member's value for people. */
export function textOf(path: string, value: unknown): string {
  if (path.endsWith("/response_status")) return answerOf(value);
  if (path === "/start_time" || path === "/end_time") return new Date(String(value)).toLocaleString();
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
