/**
 * The difference of two texts in several spans: what its author changed, and nothing beside it.
 *
 * The common ends are cut. What is left is compared word by word, and what differs then once more character by
 * character, both by Myers' greedy algorithm with a bound on its rounds; beyond it, a span is replaced whole. A
 * replaced span is its deletion, then its insertion.
 */

import { type Delta, isLow, length, push, sealed } from "./text.js";

const ROUNDS_MAX = 256;
const STEPS_MAX = 200_000;
/** So many characters without a word between two spans don't part them. */
const GAP_LENGTH_MAX = 2;
/** From here on (CJK, emoji) a character is a word. */
const FIRST_ALONE = 0x2e80;

/** `old[start..end]` is replaced by `now[nowStart..nowEnd]`; counted in code points. */
interface Span {
  start: number;
  end: number;
  nowStart: number;
  nowEnd: number;
}

/** The delta that makes `now` of `old`. */
export function difference(old: string, now: string): Delta {
  const [lead, tail] = commonEnds(old, now);
  const before = Array.from(old.slice(lead, old.length - tail));
  const after = Array.from(now.slice(lead, now.length - tail));
  const delta: (string | number)[] = [];
  push(delta, length(old.slice(0, lead)));
  let at = 0;
  for (const span of spansOf(before, after)) {
    push(delta, span.start - at);
    push(delta, span.start - span.end);
    push(delta, after.slice(span.nowStart, span.nowEnd).join(""));
    at = span.end;
  }
  push(delta, before.length - at);
  push(delta, length(old.slice(old.length - tail)));
  return sealed(delta);
}

/** How many units both texts begin and end with; no cut goes through a surrogate pair. */
function commonEnds(old: string, now: string): readonly [number, number] {
  const limit = Math.min(old.length, now.length);
  let lead = 0;
  while (lead < limit && old[lead] === now[lead]) lead++;
  if (isLow(old, lead) || isLow(now, lead)) lead--;
  let tail = 0;
  while (tail < limit - lead && old[old.length - 1 - tail] === now[now.length - 1 - tail]) tail++;
  if (isLow(old, old.length - tail) || isLow(now, now.length - tail)) tail--;
  return [lead, tail];
}

function spansOf(old: readonly string[], now: readonly string[]): Span[] {
  const whole = { start: 0, end: old.length, nowStart: 0, nowEnd: now.length };
  if (!old.length && !now.length) return [];
  if (!old.length || !now.length) return [whole];
  return wordSpans(old, now, whole).flatMap((span) => refined(old, now, span));
}

/** A replaced span by its characters, where half of the shorter side or more stays. */
function refined(old: readonly string[], now: readonly string[], span: Span): Span[] {
  let { start, end, nowStart, nowEnd } = span;
  while (start < end && nowStart < nowEnd && old[start] === now[nowStart]) {
    start++;
    nowStart++;
  }
  while (start < end && nowStart < nowEnd && old[end - 1] === now[nowEnd - 1]) {
    end--;
    nowEnd--;
  }
  const whole = { start, end, nowStart, nowEnd };
  if (start === end || nowStart === nowEnd) return [whole];
  const found = compared(old.slice(start, end), now.slice(nowStart, nowEnd));
  if (!found) return [whole];
  const kept = found.reduce((left, part) => left - (part.end - part.start), end - start);
  if (2 * kept < Math.min(end - start, nowEnd - nowStart)) return [whole];
  return found.map((part) => ({
    start: part.start + start,
    end: part.end + start,
    nowStart: part.nowStart + nowStart,
    nowEnd: part.nowEnd + nowStart,
  }));
}

/** The spans in which two texts differ, in whole words; `whole` where that takes too much work. */
function wordSpans(old: readonly string[], now: readonly string[], whole: Span): Span[] {
  const offsets = wordOffsets(old);
  const nowOffsets = wordOffsets(now);
  const found = compared(wordsAt(old, offsets), wordsAt(now, nowOffsets));
  if (!found) return [whole];
  const spans: Span[] = [];
  for (const part of found) {
    const span = {
      start: offsets[part.start] as number,
      end: offsets[part.end] as number,
      nowStart: nowOffsets[part.nowStart] as number,
      nowEnd: nowOffsets[part.nowEnd] as number,
    };
    const last = spans[spans.length - 1];
    if (last && isGap(old.slice(last.end, span.start))) {
      last.end = span.end;
      last.nowEnd = span.nowEnd;
    } else spans.push(span);
  }
  return spans;
}

/** Is this too little to part two spans? */
const isGap = (between: readonly string[]): boolean =>
  between.length <= GAP_LENGTH_MAX && !between.some((one) => isOfWord(one) || codeOf(one) >= FIRST_ALONE);

const codeOf = (character: string): number => character.codePointAt(0) as number;

/** Does it stand in a word with its neighbours: a letter or digit, or not of ASCII? */
function isOfWord(character: string): boolean {
  const code = codeOf(character);
  return code < 128 ? /[0-9A-Za-z]/.test(character) : code < FIRST_ALONE;
}

/** Where each word begins, and the end; what belongs to no word stands alone, character by character. */
function wordOffsets(text: readonly string[]): number[] {
  const offsets = [0];
  let at = 0;
  while (at < text.length) {
    const isWord = isOfWord(text[at++] as string);
    while (isWord && at < text.length && isOfWord(text[at] as string)) at++;
    offsets.push(at);
  }
  return offsets;
}

const wordsAt = (text: readonly string[], offsets: readonly number[]): string[] =>
  offsets.slice(1).map((end, index) => text.slice(offsets[index], end).join(""));

/** The spans of two sequences that Myers' algorithm finds different; undefined beyond the bound. */
function compared(old: readonly string[], now: readonly string[]): Span[] | undefined {
  const rounds = Math.min(ROUNDS_MAX, Math.floor(STEPS_MAX / (old.length + now.length)));
  const middle = rounds + 1;
  const reached = new Array<number>(2 * rounds + 3).fill(0);
  const trace: number[][] = [];
  for (let count = 0; count <= rounds; count++) {
    trace.push(reached.slice(middle - count - 1, middle + count + 2));
    for (let diagonal = -count; diagonal <= count; diagonal += 2) {
      let at = inserts(reached, middle, diagonal, count)
        ? (reached[middle + diagonal + 1] as number)
        : (reached[middle + diagonal - 1] as number) + 1;
      while (at < old.length && at - diagonal < now.length && old[at] === now[at - diagonal]) at++;
      reached[middle + diagonal] = at;
      if (at >= old.length && at - diagonal >= now.length) return tracedBack(trace, old.length, now.length);
    }
  }
  return undefined;
}

/** Is this diagonal reached by an insertion, rather than a deletion? */
const inserts = (reached: readonly number[], middle: number, diagonal: number, count: number): boolean =>
  diagonal === -count ||
  (diagonal !== count &&
    (reached[middle + diagonal - 1] as number) < (reached[middle + diagonal + 1] as number));

/** The way back from both ends, by what was reached before each round. */
function tracedBack(trace: readonly number[][], size: number, nowSize: number): Span[] {
  const spans: Span[] = [];
  let at = size;
  let nowAt = nowSize;
  for (let count = trace.length - 1; count > 0; count--) {
    const reached = trace[count] as number[];
    const middle = count + 1;
    const diagonal = at - nowAt;
    const isInsertion = inserts(reached, middle, diagonal, count);
    const start = reached[middle + diagonal + (isInsertion ? 1 : -1)] as number;
    const nowStart = start - diagonal + (isInsertion ? -1 : 1);
    const end = isInsertion ? start : start + 1;
    const nowEnd = isInsertion ? nowStart + 1 : nowStart;
    const last = spans[spans.length - 1];
    if (last && last.start === end && last.nowStart === nowEnd) {
      last.start = start;
      last.nowStart = nowStart;
    } else spans.push({ start, end, nowStart, nowEnd });
    at = start;
    nowAt = nowStart;
  }
  return spans.reverse();
}
