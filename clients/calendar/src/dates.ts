/** Dates of a month's page, and between the document's RFC 3339 and an input's local time. */

const MINUTE_MS = 60_000;
const DAY_MS = 1_440 * MINUTE_MS;

/** The beginning of a day of a month (`2026-11`), or of the month so many later; day 0 is the one before the first. */
export function dayIn(month: string, day: number, later = 0): Date {
  const [year, number] = month.split("-").map(Number) as [number, number];
  return beginningOf(year, number - 1 + later, day);
}

/** The beginning of a date's day, or of the day so many later. */
export const midnightOf = (date: Date, later = 0): Date =>
  beginningOf(date.getFullYear(), date.getMonth(), date.getDate() + later);

function beginningOf(...day: [year: number, month: number, date: number]): Date {
  const date = new Date(2000, 0, 1);
  date.setFullYear(...day); // `new Date` takes the year 50 for 1950
  return date;
}

/** What a browser may say of weeks; older ones have it as a property. */
interface WeekLocale extends Intl.Locale {
  getWeekInfo?(): { readonly firstDay: number };
  readonly weekInfo?: { readonly firstDay: number };
}

/** The day that weeks begin with, 0 is Sunday: as a locale has it, or Monday where the browser doesn't know. */
export function firstWeekday(locale = new Intl.DateTimeFormat().resolvedOptions().locale): number {
  const weeks: WeekLocale = new Intl.Locale(locale);
  return ((weeks.getWeekInfo?.() ?? weeks.weekInfo)?.firstDay ?? 1) % 7;
}

/** The weeks that show a month: rows of seven days from `first` on; null is a day that never was in this zone. */
export function weeksOf(month: string, first: number): (Date | null)[][] {
  const offset = (dayIn(month, 1).getDay() + 7 - first) % 7;
  const days = lengthOf(month);
  const weeks = Math.ceil((offset + days) / 7);
  return Array.from({ length: weeks }, (_, week) =>
    Array.from({ length: 7 }, (_, day) => existing(month, 1 - offset + week * 7 + day)),
  );
}

/** Its days, those that a zone left out among them. */
function lengthOf(month: string): number {
  const [year, number] = month.split("-").map(Number) as [number, number];
  const last = new Date(0);
  last.setUTCFullYear(year, number, 0);
  return last.getUTCDate();
}

/** Where a zone went over the date line, a day was left out: it begins when the next one does. */
function existing(month: string, day: number): Date | null {
  const date = dayIn(month, day);
  return date.getTime() === dayIn(month, day + 1).getTime() ? null : date;
}

/** `2026-11-26`, in local time. */
export function dayOf(date: Date): string {
  return `${digits(date.getFullYear(), 4)}-${digits(date.getMonth() + 1)}-${digits(date.getDate())}`;
}

/** An input's `2026-11-26T14:00` of an RFC 3339 time; "" of nothing. */
export function localTime(value: unknown): string {
  const date = typeof value === "string" ? new Date(value) : null;
  if (!date || Number.isNaN(date.getTime())) return "";
  return `${dayOf(date)}T${digits(date.getHours())}:${digits(date.getMinutes())}`;
}

/**
 * The last day that an input takes: where years have four digits a year is complete with its fourth. What is on it is
 * before the year 10000, which RFC 3339 doesn't have, in each zone.
 */
export const LATEST = "9999-12-30";

/** Is a moment (Unix ms) after all that an input takes? */
export const isTooLate = (time: number): boolean => time >= Date.parse(`${LATEST}T24:00`);

/** Is an input's local time one that is meant? On the way to a year there are others: 0002, 0020, 0202. */
export const isMeant = (local: string): boolean => /^[1-9]\d{3}-/.test(local) && local.slice(0, 10) <= LATEST;

/** RFC 3339 of an input's local time, or of another one's (Unix ms). */
export function instant(time: string | number): string {
  return new Date(time).toISOString().replace(".000Z", "Z");
}

/** Where clocks are put back they show an hour twice: the other moment that looks like this one; null of all others. */
export function twinOf(date: Date): Date | null {
  const time = date.getTime();
  for (const near of [time - DAY_MS, time + DAY_MS]) {
    const offset = new Date(near).getTimezoneOffset();
    const other = new Date(time + (offset - date.getTimezoneOffset()) * MINUTE_MS);
    if (other.getTime() !== time && other.getTimezoneOffset() === offset) return other;
  }
  return null;
}

/** So many days later at the same hour: a day on which clocks change is one, too. */
function daysLater(date: Date, days: number): Date {
  const later = new Date(date);
  if (!days) return later; // of two hours that look alike `setDate` takes the first
  later.setDate(later.getDate() + days);
  return later;
}

/**
 * When what lasts from `from` to `to` ends (Unix ms) once it begins at `begins`: as many days later, and as long after that.
 * NaN where one of them is no time.
 */
export function endFrom(begins: Date, from: Date, to: Date): number {
  let days = Math.ceil((to.getTime() - from.getTime()) / DAY_MS);
  while (days > 0 && daysLater(from, days) > to) days--;
  return daysLater(begins, days).getTime() + to.getTime() - daysLater(from, days).getTime();
}

/** Do clocks here never show an input's local time, for they are put forward over it? */
export const isSkipped = (local: string): boolean =>
  !local.startsWith(localTime(new Date(local).toISOString()));

/** The moments at which clocks here show an input's local time, the earlier one first. */
export function momentsAt(local: string): Date[] {
  const date = new Date(local);
  return [date, twinOf(date)].filter((moment) => moment !== null);
}

/** Does a locale's own language write the day before the month? */
function isDayFirst(locale: string): boolean {
  const parts = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" }).formatToParts();
  return parts.find(({ type }) => type === "day" || type === "month")?.type === "day";
}

/** The English of a locale's region; where there is none, one that has the order of the locale's own language. */
function englishIn(locale: string): string {
  const english = `en-${new Intl.Locale(locale).maximize().region}`;
  const known = new Intl.DateTimeFormat(english).resolvedOptions().locale;
  return known === "en" && isDayFirst(locale) ? "en-001" : english;
}

/** The page's language as it is written in a reader's region, by the months that a month's page and inputs have. */
export function englishFor({ locale, hourCycle }: Intl.ResolvedDateTimeFormatOptions): string {
  return `${englishIn(locale)}-u-ca-gregory-hc-${hourCycle}`;
}

const ENGLISH = englishFor(new Intl.DateTimeFormat(undefined, { hour: "numeric" }).resolvedOptions());

/** `10:00`, as it is written here; with the zone where two hours look alike. */
export function hourOf(date: Date): string {
  const format: Intl.DateTimeFormatOptions = twinOf(date)
    ? { hour: "numeric", minute: "2-digit", timeZoneName: "short" }
    : { timeStyle: "short" };
  return date.toLocaleTimeString(ENGLISH, format);
}

/** A day as it is written here. */
export const dayText = (date: Date, format: Intl.DateTimeFormatOptions): string =>
  date.toLocaleDateString(ENGLISH, format);

/** `Mon 5 Jan`, as it is written here; with the year where it isn't this one. */
export function shortDay(date: Date): string {
  const year = date.getFullYear() === new Date().getFullYear() ? {} : ({ year: "numeric" } as const);
  return dayText(date, { weekday: "short", day: "numeric", month: "short", ...year });
}

/** `Mon 5 Jan, 10:00`. */
export const momentOf = (date: Date): string => `${shortDay(date)}, ${hourOf(date)}`;

/** Does a day begin with it? */
const isMidnight = (date: Date): boolean => date.getTime() === midnightOf(date).getTime();

/** Does it take whole days? */
export const isOfDays = (from: Date, to: Date): boolean => from < to && isMidnight(from) && isMidnight(to);

/** `Mon 5 Jan, 10:00 – 11:00`, and the end's day where it is another. What takes whole days has no hours. */
export function spanText(from: Date, to: Date): string {
  if (isOfDays(from, to)) return `${daysText(from, to)}, all day`;
  return `${momentOf(from)} – ${dayOf(from) === dayOf(to) ? hourOf(to) : momentOf(to)}`;
}

/** `Mon 5 Jan – Tue 6 Jan` of what takes these days, or the day where it is one. */
export function daysText(from: Date, to: Date): string {
  const [first, last] = [shortDay(from), shortDay(new Date(to.getTime() - 1))];
  return first === last ? first : `${first} – ${last}`;
}

const digits = (value: number, least = 2) => String(value).padStart(least, "0");
