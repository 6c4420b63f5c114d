/** JSON values: what may stand in a document, equality, sizes. */

export type JsonArray = readonly Json[];
export interface JsonObject {
  readonly [key: string]: Json;
}
/** What JSON.parse gives. A document is never changed: a new one shares with the old what was not touched. */
export type Json = null | boolean | number | string | JsonArray | JsonObject;

export type ErrorCode = "INVALID_OPERATION" | "CONFLICT" | "TOO_LARGE";
export const INVALID = "INVALID_OPERATION";
export const CONFLICT = "CONFLICT";
export const TOO_LARGE = "TOO_LARGE";

/** An edit can't be carried out. `index` is the failing operation's place in its patch, where there is one. */
export class PatchError extends Error {
  override name = "PatchError";
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly index: number | null = null,
  ) {
    super(message);
  }
}

export const isArray = Array.isArray as (value: unknown) => value is JsonArray;

/** Is it an object of JSON: neither an array nor null, nor a Date, a Map or the like? */
export const isObject = (value: unknown): value is JsonObject =>
  Object.prototype.toString.call(value) === "[object Object]";

export const has = (members: JsonObject, key: string): boolean => Object.hasOwn(members, key);

/** Give `members`, a copy that is the caller's own, a member; `__proto__` is a name like any other. */
export function put(members: JsonObject, key: string, value: Json): void {
  if (key === "__proto__") {
    Object.defineProperty(members, key, { value, enumerable: true, configurable: true, writable: true });
  } else {
    (members as Record<string, Json>)[key] = value;
  }
}

// With the flag `u`, pairs are one character: what is found stands alone.
const LONE_SURROGATE = /[\ud800-\udfff]/u;

/** Refuses lone surrogates, which have no UTF-8 and so no wire form. */
export function checkString(text: string): string {
  if (LONE_SURROGATE.test(text)) throw new PatchError(INVALID, "a string holds a lone surrogate");
  return text;
}

export function checkInteger(value: number): number {
  if (!Number.isSafeInteger(value)) {
    throw new PatchError(INVALID, "an integer lies beyond +-(2^53-1), where digits are lost");
  }
  return value;
}

function checkScalar(value: unknown): Json {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "string") return checkString(value);
  if (typeof value !== "number") throw new PatchError(INVALID, `${typeof value} is not a JSON value`);
  if (!Number.isFinite(value)) throw new PatchError(INVALID, "NaN and Infinity are not JSON numbers");
  // From 1e21 on JSON.stringify writes an exponent, and readers take the number for a float.
  if (Number.isInteger(value) && Math.abs(value) < 1e21) checkInteger(value);
  return value || 0; // -0 becomes 0
}

/** A copy of `value` as it is stored, or PatchError. Walks level by level, so depth costs no stack. */
export function checkValue(value: unknown, depthMax: number): Json {
  const root: Json[] = [];
  let level: [from: unknown, put: (child: Json) => void][] = [[value, (child) => root.push(child)]];
  for (let depth = 0; level.length; depth++) {
    const below: typeof level = [];
    for (const [from, place] of level) {
      if (!isArray(from) && !isObject(from)) {
        place(checkScalar(from));
        continue;
      }
      if (depth >= depthMax) {
        throw new PatchError(TOO_LARGE, `the value nests deeper than ${depthMax} containers`);
      }
      if (isArray(from)) {
        const items: Json[] = [];
        place(items);
        for (let i = 0; i < from.length; i++) below.push([from[i], (child) => items.push(child)]);
      } else {
        const members: JsonObject = {};
        place(members);
        for (const key of Object.keys(from)) {
          below.push([from[key], (child) => put(members, checkString(key), child)]);
        }
      }
    }
    level = below;
  }
  return root[0] as Json;
}

/** The same JSON whatever the order of members. A number has no kind here: 1 and 1.0 are one. */
export function equal(one: Json | undefined, other: Json | undefined): boolean {
  if (one === other) return true;
  if (isArray(one)) {
    return isArray(other) && one.length === other.length && one.every((item, i) => equal(item, other[i]));
  }
  if (isArray(other) || !isObject(one) || !isObject(other)) return false;
  const keys = Object.keys(one);
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => has(other, key) && equal(one[key], other[key]))
  );
}

export function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}

/** About the bytes of `value` as compact JSON; TOO_LARGE when it passes a limit, which ends the walk. */
export function measure(value: Json, depthMax: number, bytesMax: number): number {
  let total = 0;
  let level = [value];
  for (let depth = 0; level.length; depth++) {
    const below: Json[] = [];
    for (const node of level) {
      if (isArray(node) || isObject(node)) {
        if (depth >= depthMax) {
          throw new PatchError(TOO_LARGE, `the value would nest deeper than ${depthMax} containers`);
        }
        const keys = Object.keys(node);
        total += 2 + keys.length;
        for (const key of keys) {
          if (!isArray(node)) total += utf8Length(key) + 3;
          below.push((node as JsonObject)[key] as Json);
        }
      } else if (typeof node === "string") total += 2 + utf8Length(node);
      else total += typeof node === "number" ? String(node).length : 4;
      if (total > bytesMax) throw new PatchError(TOO_LARGE, `the values would pass ${bytesMax} bytes`);
    }
    level = below;
  }
  return total;
}
