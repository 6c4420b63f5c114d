/**
 * The difference of two texts in several spans: what its author changed, and nothing beside it.
 *
 * The common ends are cut. What is left is compared word by word, and what differs then once more character by
 * character, both by Myers' greedy algorithm (An O(ND) Difference Algorithm and Its Variations, 1986) with a
 * bound on its rounds; beyond it, a span is replaced whole. A replaced span is its deletion, then its insertion.
 */

import { type Delta, isFlat, push, sealed } from "./text.js";

// Rounds of one comparison: at most so many, and in all about so many steps over what is compared.
const ROUNDS_MAX = 256;
const STEPS_MAX = 200_000;
// So many characters without a word between two spans don't part them.
const GAP_LENGTH_MAX = 2;
// From here on (CJK, emoji) a character is a word.
const FIRST_ALONE = 0x2e80;

/** `old[a:b]` is replaced by `now[c:d]`. */
type Span = readonly [start: number, end: number, newStart: number, newEnd: number];
/** Code points: a string itself where each is one unit. */
type Points = string | readonly string[];

const textOf = (points: Points): string => (typeof points === "string" ? points : points.join(""));
const pointsOf = (text: string): Points => (isFlat(text) ? text : [...text]);

/** The delta that makes `now` of `old`. */
export function difference(old: string, now: string): Delta {
  const points = pointsOf(now);
  const delta: (string | number)[] = [];
  let at = 0;
  for (const [start, end, newStart, newEnd] of textSpans(pointsOf(old), points)) {
    push(delta, start - at);
    push(delta, start - end);
    push(delta, textOf(points.slice(newStart, newEnd)));
    at = end;
  }
  return sealed(delta);
}

/** The spans in which two texts differ, in order and apart. */
function textSpans(old: Points, now: Points): Span[] {
  const [start, end, , newEnd] = trimmed(old, now, [0, old.length, 0, now.length]);
  if (start === end && start === newEnd) return [];
  if (start === end || start === newEnd) return [[start, end, start, newEnd]];
  const spans = wordSpans(old.slice(start, end), now.slice(start, newEnd));
  return spans.flatMap((span) => refined(old, now, span.map((at) => at + start) as unknown as Span));
}

/** A span without its common ends. */
function trimmed(old: Points, now: Points, [start, end, newStart, newEnd]: Span): Span {
  const limit = Math.min(end - start, newEnd - newStart);
  let lead = 0;
  while (lead < limit && old[start + lead] === now[newStart + lead]) lead++;
  let tail = 0;
  while (tail < limit - lead && old[end - 1 - tail] === now[newEnd - 1 - tail]) tail++;
  return [start + lead, end - tail, newStart + lead, newEnd - tail];
}

/** A replaced span by its characters, where half of the shorter side or more stays. */
function refined(old: Points, now: Points, span: Span): Span[] {
  const whole = trimmed(old, now, span);
  const [start, end, newStart, newEnd] = whole;
  const size = end - start;
  const newSize = newEnd - newStart;
  const found = size && newSize && compared(old.slice(start, end), now.slice(newStart, newEnd));
  if (!found) return [whole];
  const kept = found.reduce((left, [first, last]) => left - (last - first), size);
  if (2 * kept < Math.min(size, newSize)) return [whole];
  return found.map(([a, b, c, d]) => [a + start, b + start, c + newStart, d + newStart]);
}

/** The spans in which two texts differ, in whole words; the whole where that takes too much work. */
function wordSpans(old: Points, now: Points): Span[] {
  const words = wordsOf(old);
  const newWords = wordsOf(now);
  const found = compared(words, newWords);
  if (!found) return [[0, old.length, 0, now.length]];
  const [offsets, newOffsets] = [offsetsOf(words), offsetsOf(newWords)];
  const spans: Span[] = [];
  for (const [first, last, newFirst, newLast] of found) {
    let [start, newStart] = [offsets[first]!, newOffsets[newFirst]!];
    const before = spans.at(-1);
    if (before && isGap(old, before[1], start)) {
      spans.pop();
      [start, , newStart] = before;
    }
    spans.push([start, offsets[last]!, newStart, newOffsets[newLast]!]);
  }
  return spans;
}

/** Is there too little between two spans to part them? */
function isGap(text: Points, start: number, end: number): boolean {
  if (end - start > GAP_LENGTH_MAX) return false;
  for (let i = start; i < end; i++) if (isOfWord(text[i]) || codeOf(text[i]) >= FIRST_ALONE) return false;
  return true;
}

const codeOf = (point: string | undefined): number => point?.codePointAt(0) ?? 0;

/** Is it a character that stands in a word with its neighbours: a letter or digit, or not of ASCII? */
const isOfWord = (point: string | undefined): boolean =>
  /^[0-9A-Za-z]/.test(point ?? "") || (codeOf(point) >= 128 && codeOf(point) < FIRST_ALONE);

/** A text in words; what belongs to none stands alone, character by character. */
function wordsOf(text: Points): Points[] {
  const words: Points[] = [];
  let end = 0;
  for (let start = 0; start < text.length; start = end) {
    end = start + 1;
    if (isOfWord(text[start])) while (end < text.length && isOfWord(text[end])) end++;
    words.push(text.slice(start, end));
  }
  return words;
}

/** Where each word begins, and the end. */
function offsetsOf(words: readonly Points[]): number[] {
  const offsets = [0];
  for (const word of words) offsets.push(offsets.at(-1)! + word.length);
  return offsets;
}

/** The spans of two sequences that Myers' algorithm finds different; undefined beyond the bound. */
function compared(old: Points | Points[], now: Points | Points[]): Span[] | undefined {
  const one = Array.from(old, textOf);
  const other = Array.from(now, textOf);
  const rounds = Math.min(ROUNDS_MAX, Math.floor(STEPS_MAX / (one.length + other.length)));
  const reached: number[] = new Array(2 * rounds + 3).fill(0); // by diagonal: how far along `old`
  const middle = rounds + 1; // the diagonal 0
  const trace: number[][] = [];
  for (let count = 0; count <= rounds; count++) {
    trace.push(reached.slice(middle - count - 1, middle + count + 2));
    for (let diagonal = -count; diagonal <= count; diagonal += 2) {
      const place = middle + diagonal;
      let at = inserts(reached, place, diagonal, count) ? reached[place + 1]! : reached[place - 1]! + 1;
      while (at < one.length && at - diagonal < other.length && one[at] === other[at - diagonal]) at++;
      reached[place] = at;
      if (at >= one.length && at - diagonal >= other.length) return tracedBack(trace, at, at - diagonal);
    }
  }
  return undefined;
}

/** Is this diagonal reached by an insertion, rather than a deletion? */
const inserts = (reached: number[], place: number, diagonal: number, count: number): boolean =>
  diagonal === -count || (diagonal !== count && reached[place - 1]! < reached[place + 1]!);

/** The way back from both ends, by what was reached before each round. */
function tracedBack(trace: number[][], size: number, newSize: number): Span[] {
  const spans: Span[] = [];
  let [at, newAt] = [size, newSize];
  for (let count = trace.length - 1; count > 0; count--) {
    const reached = trace[count]!;
    const diagonal = at - newAt;
    const place = count + 1 + diagonal;
    const isInsertion = inserts(reached, place, diagonal, count);
    const before = reached[isInsertion ? place + 1 : place - 1]!;
    const newBefore = before - diagonal + (isInsertion ? -1 : 1);
    let end = isInsertion ? before : before + 1;
    let newEnd = isInsertion ? newBefore + 1 : newBefore;
    const last = spans.at(-1);
    if (last?.[0] === end && last[2] === newEnd) {
      spans.pop();
      [, end, , newEnd] = last;
    }
    spans.push([before, end, newBefore, newEnd]);
    [at, newAt] = [before, newBefore];
  }
  return spans.reverse();
}
