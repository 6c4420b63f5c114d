/** The canonical form of a document (RFC 8785), by which replicas are compared. */

import { isArray, isObject, type Json, type JsonObject } from "./values.js";

/**
 * No blanks, members sorted by UTF-16 code units, numbers as ECMAScript writes them: 1, 1.0 and 1e0 are one.
 * Its UTF-8 bytes are what a hash is taken of.
 */
export function canonical(document: Json): string {
  if (isArray(document)) return `[${document.map(canonical).join()}]`;
  if (!isObject(document)) return JSON.stringify(document);
  const member = (key: string) =>
    `${JSON.stringify(key)}:${canonical((document as JsonObject)[key] as Json)}`;
  return `{${Object.keys(document).sort().map(member).join()}}`;
}
