/** JSON values: what may stand in a document, equality, sizes. */

export type JsonArray = readonly Json[];
export interface JsonObject {
  readonly [key: string]: Json;
}
/** What JSON.parse gives. A document is never changed: a new one shares with the old what was not touched. */
export type Json = null | boolean | number | string | JsonArray | JsonObject;

type ErrorCode = "INVALID_OPERATION" | "CONFLICT" | "TOO_LARGE";
const INVALID = "INVALID_OPERATION";
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

export const invalid = (message: string): PatchError => new PatchError(INVALID, message);

export const isArray = Array.isArray as (value: unknown) => value is JsonArray;

/** Is it an object of JSON: neither an array nor null, nor a Date, a Map or the like? */
export const isObject = (value: unknown): value is JsonObject =>
  ({}).toString.call(value) === "[object Object]";

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
  if (LONE_SURROGATE.test(text)) throw invalid("a string holds a lone surrogate");
  return text;
}

export function checkInteger(value: number): number {
  if (!Number.isSafeInteger(value)) {
    throw invalid("an integer lies beyond +-(2^53-1)");
  }
  return value;
}

function checkNode(node: unknown): void {
  if (typeof node === "string") checkString(node);
  else if (Number.isFinite(node)) {
    // From 1e21 on JSON.stringify writes an exponent, and readers take the number for a float.
    if (Number.isInteger(node) && Math.abs(node as number) < 1e21) checkInteger(node as number);
  } else if (isObject(node)) Object.keys(node).forEach(checkString);
  else if (node !== null && typeof node !== "boolean" && !isArray(node)) {
    throw invalid(`${String(node)} is not a JSON value`);
  }
}

/** Calls `visit` for everything in `value`, level by level, so depth costs no stack; TOO_LARGE past `depthMax`. */
export function walk(value: unknown, depthMax: number, visit?: (node: unknown) => void): void {
  let level = [value];
  for (let depth = 0; level.length; depth++) {
    const below: unknown[] = [];
    for (const node of level) {
      visit?.(node);
      if (!isArray(node) && !isObject(node)) continue;
      if (depth >= depthMax) {
        throw new PatchError(TOO_LARGE, `the value nests deeper than ${depthMax} containers`);
      }
      for (const child of Object.values(node)) below.push(child);
    }
    level = below;
  }
}

/** A copy of `value` as it is stored, or PatchError. */
export function checkValue(value: unknown, depthMax: number): Json {
  let text: string;
  try {
    text = JSON.stringify(value); // -0 becomes 0
  } catch (error) {
    // Too deep for the stack, or an object that holds itself.
    throw error instanceof RangeError ? new PatchError(TOO_LARGE, String(error)) : invalid(String(error));
  }
  walk(value, depthMax, checkNode);
  return JSON.parse(text);
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
