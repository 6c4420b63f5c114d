/**
 * What is typed or pasted, without what no event may hold: that is seen by nobody, and the gateway refuses the whole of what
 * it stands in.
 */

import type { TextComponent } from "@collab/client/kernel";

/** Control characters, halves of characters, and what turns all that follows. Texts have line breaks and tabs. */
const UNFIT = /(?![\t\n])[\p{Cc}\p{Cs}\u202d\u202e]/gu;
/** Other programs' line breaks, and their ends of pages. */
const BREAKS = /\r\n?|[\v\f\x85]/g;
/** So many lines go through an edit of each line break. */
const LINES_MAX = 10_000;
/** What a line has a space for. */
const WIDE = /[\t\n\v\f\x85]/g;

/** Stands for the caret in a text: Unicode keeps it for a program's own use, so no text has it. */
const CARET = "\uffff";

const PARAGRAPH = /[^\n\u2029]+/g;
const TURNS = /[\u202a-\u202c\u2066-\u2069]/g;
const CLOSERS: ReadonlyMap<string | undefined, string> = new Map([
  ["\u202a", "\u202c"],
  ["\u202b", "\u202c"],
  ["\u2066", "\u2069"],
  ["\u2067", "\u2069"],
  ["\u2068", "\u2069"],
]);

/** Of a text of several lines. */
export function fitText(text: string): string {
  const seen = text.replace(BREAKS, "\n").replace(UNFIT, "");
  // Each key asks, and hardly any text turns anything: its paragraphs are looked through only where one does.
  return seen.search(TURNS) < 0 ? seen : seen.replace(PARAGRAPH, closed);
}

/** Of a text of one line. */
export const fitLine = (text: string): string => fitText(text.replace(WIDE, " "));

/**
 * What makes LF of a text's CR LF, as a `text` operation has it, in UTF-16 units. It deletes each CR by itself: two who do it at
 * once have done it once. A text of very many lines is left as it is.
 */
export function withoutReturns(text: string): TextComponent[] {
  if (!text.includes("\r")) return []; // as hardly any has, and each key asks
  const lines = text.split(/\r(?=\r*\n)/);
  if (lines.length > LINES_MAX) return [];
  return lines.slice(0, -1).flatMap((line) => [line.length, { d: 1 }]);
}

/** A paragraph without what turns the direction of what follows and isn't closed in it. */
function closed(paragraph: string): string {
  const open: RegExpMatchArray[] = [];
  for (const turn of paragraph.matchAll(TURNS)) {
    if (turn[0] === CLOSERS.get(open.at(-1)?.[0])) open.pop();
    else if (CLOSERS.has(turn[0])) open.push(turn);
  }
  const left = new Set(open.map(({ index }) => index));
  return paragraph.replace(TURNS, (turn, at) => (left.has(at) ? "" : turn));
}

/** A field keeps what `fit` leaves of its text, and its caret. What is being composed is left alone. */
export function keepFit(
  field: HTMLInputElement | HTMLTextAreaElement,
  fit: (text: string) => string,
  isComposing: boolean,
): void {
  const { value, selectionEnd } = field;
  const fitted = fit(value);
  if (isComposing || fitted === value) return;
  const end = selectionEnd ?? value.length;
  const caret = fit(value.slice(0, end) + CARET + value.slice(end)).indexOf(CARET);
  field.value = fitted;
  field.setSelectionRange(caret, caret);
}
