/** Traces of a replica in a simulated room, recorded by the gateway's: every call gives the same here. */

import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import {
  apply,
  canonical,
  type Json,
  lower,
  type Outgoing,
  type Patch,
  PatchError,
  Replica,
} from "@collab/client/kernel";
import { expect, test } from "vitest";
import { strategiesOf, vectors, type WrittenStrategies } from "./vectors.js";

interface Step {
  call: "edit" | "undo" | "redo" | "receive" | "acknowledged" | "withdraw" | "reload" | "resend" | "resubmit";
  patch?: Patch | null;
  seq?: number;
  version?: number;
  document?: Json;
  includes_in_flight?: boolean;
}

interface Answer {
  sends?: { seq: number; base_version: number; patch: Patch };
  error?: string;
  version: number;
  view: string;
}

interface Trace {
  document: Json;
  version: number;
  strategies: WrittenStrategies | null;
  steps: Step[];
  answers: Answer[];
}

/** Makes the call; gives what is to be sent then, which in Python the call itself does. */
function told(replica: Replica, step: Step): Outgoing | null {
  const version = step.version ?? 0;
  switch (step.call) {
    case "edit":
      replica.edit(step.patch ?? []);
      return replica.next();
    case "undo":
      return replica.takeBack("undo") ? replica.next() : null;
    case "redo":
      return replica.takeBack("redo") ? replica.next() : null;
    case "receive":
      replica.receive(version, step.patch ?? []);
      return null;
    case "acknowledged":
      return acknowledged(replica, step.seq ?? 0, version, step.patch ?? undefined);
    case "withdraw":
      replica.withdraw();
      return replica.next();
    case "reload":
      return reloaded(replica, step.document ?? null, version, step.includes_in_flight ?? false);
    case "resend":
      return replica.inFlight ?? replica.next();
    case "resubmit":
      return replica.resubmit();
  }
}

function acknowledged(replica: Replica, seq: number, version: number, patch?: Patch): Outgoing | null {
  const isAnswer = replica.inFlight?.seq === seq;
  replica.acknowledged(seq, version, patch);
  return isAnswer ? replica.next() : null;
}

function reloaded(replica: Replica, document: Json, version: number, isIncluded: boolean): Outgoing | null {
  const isAnswer = isIncluded && replica.inFlight !== null;
  if (isIncluded) replica.included();
  replica.reload(document, version);
  return isAnswer ? replica.next() : null;
}

function answer(replica: Replica, step: Step): Answer {
  const given: Partial<Answer> = {};
  try {
    const sent = told(replica, step);
    if (sent) given.sends = { seq: sent.seq, base_version: sent.baseVersion, patch: sent.patch };
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    given.error = error.code;
  }
  const view = createHash("sha256").update(canonical(replica.view)).digest("hex");
  return { ...given, version: replica.version, view };
}

/** Edits that wait are composed here, so a patch may be shorter than the recorded one: what it does is the same. */
function checkShorter(base: Json, expected: Patch, given: Patch): void {
  const left = (patch: Patch) => apply(base, lower(base, patch));
  expect(given.length).toBeLessThan(expected.length);
  expect(left(given)).toEqual(left(expected));
}

/** How many steps gave what was recorded: all, or those before the answer to a patch that is shorter here. */
function played({ document, version, strategies, steps, answers }: Trace): number {
  const replica = new Replica(document, version, { strategies: strategiesOf(strategies ?? undefined) });
  const documents = new Map([[version, document]]); // by version, as far as the replica saw them
  const shorter = new Set<number>();
  for (const [index, step] of steps.entries()) {
    if (step.call === "acknowledged" && shorter.has(step.seq ?? 0)) return index;
    const given = answer(replica, step);
    const expected = answers[index] as Answer;
    documents.set(replica.version, replica.document);
    if (given.sends && expected.sends && !isDeepStrictEqual(given, expected)) {
      const base = documents.get(given.sends.base_version) as Json;
      checkShorter(base, expected.sends.patch, given.sends.patch);
      shorter.add(given.sends.seq);
      expected.sends.patch = given.sends.patch;
    }
    expect(given, `step ${index}: ${JSON.stringify(step)}`).toEqual(expected);
  }
  return steps.length;
}

test("every call gives what was recorded", () => {
  const traces = vectors<Trace>("replica");
  const whole = traces.filter((trace) => played(trace) === trace.steps.length);
  expect(traces.length).toBeGreaterThanOrEqual(24);
  expect(whole.length / traces.length).toBeGreaterThan(0.75);
});
