/**
 * Text deltas over code points, and strings, which count in UTF-16 code units.
 *
 * A positive number retains, a negative one deletes, a string inserts. Neighbours of one kind are merged, zero
 * lengths and a trailing retain are left out, the order of components is kept.
 */

import { checkString, invalid, isArray, isObject, type Json, type PatchError } from "./values.js";

export type Delta = readonly (string | number)[];
/** The wire form: `[5, "hi", {"d": 3}]` retains 5, inserts "hi" and deletes 3. */
export type TextComponent = number | string | { readonly d: number };

const SURROGATE = /[\ud800-\udfff]/;
// Long texts known to be flat, the latest last. Edits of one text follow each other: what one left needs no
// search.
const flat: string[] = [];
/** The last one that isn't: each component of a delta asks. */
let uneven: string;
const FLAT_MAX = 4;
const LONG_MIN = 100;

function remember(text: string): void {
  if (text.length >= LONG_MIN && flat.push(text) > FLAT_MAX) flat.shift();
}

/** Is every code point of the text one unit? */
export function isFlat(text: string): boolean {
  if (text === uneven) return false;
  if (!flat.includes(text)) {
    if (SURROGATE.test(text)) uneven = text;
    else remember(text);
  }
  return text !== uneven;
}

/** The unit at which the code point `count` after the one at `unit` starts; past the end where it has fewer. */
function unitAfter(text: string, unit: number, count: number): number {
  if (isFlat(text)) return unit + count;
  let at = unit;
  for (let left = count; left > 0; left--) at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
  return at;
}

/** How many code points there are: by an expression, which is done with a text of Latin letters at once. */
const length = (text: string): number => text.replace(/[\udc00-\udfff]/g, "").length;

/** A place counted in code points, for a place counted in UTF-16 units (a textarea's `selectionStart`). */
export const toCodePoints = (text: string, units: number): number => length(text.slice(0, units));

/** A place counted in UTF-16 units, for a place counted in code points. */
export const toUnits = (text: string, codePoints: number): number =>
  Math.min(text.length, unitAfter(text, 0, codePoints));

/** Append a component, merged with its neighbour when both are of one kind. */
export function push(delta: (string | number)[], component: string | number): void {
  if (!component) return;
  const last = delta[delta.length - 1];
  if (typeof last === "string" && typeof component === "string") delta[delta.length - 1] = last + component;
  else if (typeof last === "number" && typeof component === "number" && last > 0 === component > 0) {
    delta[delta.length - 1] = last + component;
  } else delta.push(component);
}

/** The normal form of a delta built with `push`. */
export function sealed(delta: (string | number)[]): Delta {
  const last = delta[delta.length - 1];
  if (typeof last === "number" && last > 0) delta.pop();
  return delta;
}

const isLow = (text: string, unit: number): boolean => (text.charCodeAt(unit) & 0xfc00) === 0xdc00;

/** The text after `delta`; PatchError when it reaches past the end. */
export function applyDelta(text: string, delta: Delta): string {
  let result = "";
  let at = 0;
  for (const component of delta) {
    if (typeof component === "string") {
      result += component;
      continue;
    }
    const end = unitAfter(text, at, Math.abs(component));
    if (component > 0) result += text.slice(at, end);
    at = end;
  }
  if (at > text.length) throw invalid("the text ends before the delta does");
  result += text.slice(at);
  const staysFlat = (component: string | number) =>
    typeof component === "number" || !SURROGATE.test(component);
  if (isFlat(text) && delta.every(staysFlat)) remember(result);
  return result;
}

/** The delta that leads back to `text`. */
export function invertDelta(text: string, delta: Delta): Delta {
  const inverse: (string | number)[] = [];
  let at = 0;
  for (const component of delta) {
    if (typeof component === "string") {
      push(inverse, -length(component));
      continue;
    }
    const end = unitAfter(text, at, Math.abs(component));
    push(inverse, component > 0 ? component : text.slice(at, end));
    at = end;
  }
  return sealed(inverse);
}

/** `delta` against a concurrent one; on a tie the earlier one's insertion stands left. */
export function transformDelta(delta: Delta, other: Delta, later: boolean): Delta {
  const result: (string | number)[] = [];
  let index = 0; // of the component of `delta` that is being used up
  let used = 0; // how much of it is
  for (const component of other) {
    if (typeof component === "string") {
      const own = delta[index];
      if (!later && typeof own === "string") {
        push(result, own);
        index++;
      }
      push(result, length(component));
      continue;
    }
    let left = Math.abs(component);
    while (left > 0 && index < delta.length) {
      const own = delta[index] as string | number;
      if (typeof own === "string") {
        push(result, own);
        index++;
        continue;
      }
      const span = Math.abs(own) - used;
      const taken = Math.min(span, left);
      if (component > 0) push(result, own > 0 ? taken : -taken);
      left -= taken;
      used += taken;
      if (taken === span) {
        index++;
        used = 0;
      }
    }
    if (component > 0) push(result, left);
  }
  for (; index < delta.length; index++) {
    const own = delta[index] as string | number;
    push(result, typeof own === "number" ? own - Math.sign(own) * used : own);
    used = 0;
  }
  return sealed(result);
}

/** One delta that does what `first` and then `second` do. */
export function composeDelta(first: Delta, second: Delta): Delta {
  const result: (string | number)[] = [];
  let index = 0; // of the component of `first` that comes next
  let rest: string | number | undefined = first[0]; // what is left of it
  const next = (): void => {
    rest = first[++index];
  };
  for (const component of second) {
    if (typeof component === "string") {
      push(result, component);
      continue;
    }
    const isKept = component > 0;
    let left = Math.abs(component);
    while (left > 0) {
      if (typeof rest === "number" && rest < 0) {
        push(result, rest);
        next();
      } else if (typeof rest === "string") {
        const size = length(rest);
        const cut = unitAfter(rest, 0, Math.min(size, left));
        if (isKept) push(result, rest.slice(0, cut));
        if (size > left) rest = rest.slice(cut);
        else next();
        left -= Math.min(size, left);
      } else {
        const taken = Math.min(rest ?? left, left); // past the end of `first` everything is retained
        push(result, isKept ? taken : -taken);
        if (rest === taken) next();
        else if (rest !== undefined) rest -= taken;
        left -= taken;
      }
    }
  }
  if (rest !== undefined) push(result, rest);
  for (const component of first.slice(index + 1)) push(result, component);
  return sealed(result);
}

/** Where a place in a text (in code points) stands after `delta`; `stays`: left of what is inserted at it. */
export function carriedOffset(delta: Delta, offset: number, stays = false): number {
  let at = offset;
  let position = 0;
  for (const component of delta) {
    if (position > at) break;
    if (typeof component === "string") {
      const size = length(component);
      if (position < at || !stays) at += size;
      position += size;
    } else if (component > 0) position += component;
    else at = Math.max(position, at + component);
  }
  return at;
}

/** The delta of a `text` operation's value against the present text. */
export function readDelta(value: unknown, text: string, utf16: boolean): Delta {
  if (!isArray(value)) throw misfit();
  const delta: (string | number)[] = [];
  let at = 0;
  for (const component of value) {
    if (typeof component === "string") {
      push(delta, checkString(component));
      continue;
    }
    const size = sizeOf(component);
    const end = utf16 ? at + size : unitAfter(text, at, Math.min(size, text.length + 1));
    if (end > text.length || (utf16 && isLow(text, end))) throw misfit();
    const count = utf16 ? length(text.slice(at, end)) : size;
    push(delta, typeof component === "number" ? count : -count);
    at = end;
  }
  return sealed(delta);
}

/** Also of one that ends inside a surrogate pair, and of what is no array of them. */
const misfit = (): PatchError =>
  invalid('a text component is a number, a string or {"d": number}, and ends inside the text');

function sizeOf(component: Json): number {
  const isDeletion = isObject(component) && Object.keys(component).length === 1;
  const size = isDeletion ? component.d : component;
  if (!Number.isInteger(size) || (size as number) < 0) throw misfit();
  return size as number;
}

/** The wire form of a delta, in code points. */
export const writeDelta = (delta: Delta): TextComponent[] =>
  delta.map((part) => (typeof part === "number" && part < 0 ? { d: -part } : part));
