import { createHash } from "node:crypto";
import {
  apply,
  canonical,
  emit,
  invert,
  type Json,
  lower,
  merge,
  type Operations,
  type Patch,
  PatchError,
  rebase,
  settle,
  transform,
} from "@collab/client/kernel";
import { describe, expect, it } from "vitest";
import { type LowerCase, strategiesOf, vectors } from "./vectors.js";

/** Plays every case of a file and says which one failed. */
function plays<Fields>(name: string, check: (fields: Fields) => void): void {
  describe(name, () => {
    const cases = vectors<Fields>(name);
    it(`holds for all ${cases.length} cases`, () => {
      expect(cases.length).toBeGreaterThan(0);
      for (const [index, fields] of cases.entries()) {
        try {
          check(fields);
        } catch (error) {
          throw new Error(`${name}[${index}]: ${JSON.stringify(fields)}`, { cause: error });
        }
      }
    });
  });
}

function lowered({ document, patch, strategies }: LowerCase) {
  try {
    const operations = lower(document, patch, strategiesOf(strategies));
    return { operations, after: apply(document, operations) };
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    return { error: { code: error.code, index: error.index } };
  }
}

plays<LowerCase>("json_patch", (fields) => {
  const { after, error } = lowered(fields);
  expect({ after, error }).toEqual({ after: fields.after, error: fields.error });
});

for (const name of ["lower", "strategies"]) {
  plays<LowerCase>(name, (fields) => {
    const { operations, after, error } = fields;
    expect({ operations, after, error }).toEqual(lowered(fields));
  });
}

interface TransformCase {
  document: Json;
  earlier: Operations;
  later: Operations;
  earlier_past: Operations;
  later_past: Operations;
  after: Json;
}

for (const name of ["transform", "lists"]) {
  plays<TransformCase>(name, (fields) => {
    const { earlier, later } = transform(fields.earlier, fields.later);
    expect(later).toEqual(fields.later_past);
    expect(earlier).toEqual(fields.earlier_past);
    expect(apply(apply(fields.document, fields.earlier), later)).toEqual(fields.after);
    expect(apply(apply(fields.document, fields.later), earlier)).toEqual(fields.after);
  });
}

interface MergeCase {
  base: Json;
  mine: Json;
  theirs: Json;
  strategies: LowerCase["strategies"];
  after: Json;
  conflicts: object[];
}

plays<MergeCase>("merge", ({ base, mine, theirs, strategies, after, conflicts }) => {
  const merged = merge(base, mine, theirs, strategiesOf(strategies));
  expect(apply(theirs, lower(theirs, merged.patch))).toEqual(after);
  expect(merged.conflicts).toEqual(conflicts);
});

// What an edit overwrote is the server's to say; the client gets it with the answer.
plays<LowerCase & { window: Operations[]; rebased: Operations }>("conflicts", (fields) => {
  const { document, patch, strategies, window, rebased } = fields;
  expect(rebase(lower(document, patch, strategiesOf(strategies)), window)).toEqual(rebased);
});

plays<{ document: Json; operations: Operations; patch: Patch; settled: Operations }>("emit", (fields) => {
  expect(emit(fields.document, fields.operations)).toEqual(fields.patch);
  expect(settle(fields.document, fields.operations)).toEqual(fields.settled);
  expect(lower(fields.document, fields.patch)).toEqual(fields.settled);
});

plays<{ document: Json; operations: Operations; inverse: Operations }>("invert", (fields) => {
  expect(invert(fields.document, fields.operations)).toEqual(fields.inverse);
});

plays<{ document: Json; canonical: string; sha256: string }>("canonical", (fields) => {
  expect(canonical(fields.document)).toBe(fields.canonical);
  expect(createHash("sha256").update(canonical(fields.document)).digest("hex")).toBe(fields.sha256);
});
