/** Events as they were at a version. That stays as it is, and to find it out is dear: it is asked for once. */

import type { SharedDocument } from "@collab/client";
import type { EventDocument } from "./event.js";

type Document = SharedDocument<EventDocument>;
type Past = Promise<EventDocument | null>;

/** So many versions of an event are remembered. */
const VERSIONS_MAX = 100;

const remembered = new WeakMap<Document, Map<number, Past>>();

/** Rejects where it can't be known now; then it is asked for again. */
export function eventAt(document: Document, version: number): Past {
  const versions = remembered.get(document) ?? new Map<number, Past>();
  remembered.set(document, versions);
  const past = versions.get(version) ?? document.at(version).then((was) => was.document);
  versions.delete(version);
  versions.set(version, past); // as the newest
  past.catch(() => versions.delete(version));
  for (const oldest of [...versions.keys()].slice(0, -VERSIONS_MAX)) versions.delete(oldest);
  return past;
}
