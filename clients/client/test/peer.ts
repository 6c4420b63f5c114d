/**
 * The kernel for programs in other languages: one request a line on stdin, its answer a line on stdout, JSON
 * both. `tests/typescript` of the gateway compares with it, and has its replicas in rooms with Python's.
 */

import { createInterface } from "node:readline";
import {
  apply,
  difference,
  emit,
  invert,
  type Json,
  lower,
  merge,
  type Operations,
  type Patch,
  PatchError,
  Replica,
  type SavedReplica,
  type Strategies,
  settle,
  transform,
} from "@collab/client/kernel";

interface CaseRequest {
  call: "case";
  document: Json;
  strategies: Strategies;
  patches: [Patch, Patch];
  triple: [base: Json, mine: Json, theirs: Json];
  fields: Strategies;
}

interface ReplicaRequest {
  call:
    | "new"
    | "edit"
    | "undo"
    | "redo"
    | "receive"
    | "acknowledged"
    | "withdraw"
    | "reload"
    | "resend"
    | "resubmit";
  replica: number;
  arguments: never[];
  strategies?: Strategies;
}

const replicas = new Map<number, Replica>();

function outcome(compute: () => unknown): unknown {
  try {
    return compute();
  } catch (error) {
    if (error instanceof PatchError) return { error: { code: error.code, index: error.index } };
    return { error: { code: (error as Error).name } };
  }
}

/** What becomes of two concurrent patches. */
function played({ document, strategies, patches }: CaseRequest): unknown {
  const lowered = patches.map((patch) => outcome(() => lower(document, patch, strategies)));
  if (!lowered.every(Array.isArray)) return { lowered };
  const [earlier, later] = lowered as unknown as [Operations, Operations];
  return { lowered, ...(outcome(() => met(document, earlier, later)) as object) };
}

function merged({ triple, fields }: CaseRequest): unknown {
  const { patch, conflicts } = merge(...triple, fields);
  return { after: apply(triple[2], lower(triple[2], patch)), conflicts };
}

function met(document: Json, earlier: Operations, later: Operations): unknown {
  const past = transform(earlier, later);
  const head = apply(document, earlier);
  const after = apply(head, past.later);
  return {
    transformed: [past.earlier, past.later, past.losses],
    after,
    inverse: invert(head, past.later),
    patches: [false, true].map((tests) => emit(head, past.later, tests)),
    settled: [false, true].map((tests) => settle(head, past.later, tests)),
    difference: difference(document, after),
    misfit: outcome(() => apply(document, past.later)),
  };
}

function used(request: ReplicaRequest): unknown {
  const replica = replicas.get(request.replica) as Replica;
  const { call, arguments: given } = request;
  if (call === "new") {
    const [document, version] = given as unknown as [Json, number];
    replicas.set(request.replica, new Replica(document, version, { strategies: request.strategies ?? {} }));
    return state(request.replica, null);
  }
  const result = called(replica, call, given);
  const isAnswer = call === "resend" || call === "resubmit";
  return state(request.replica, isAnswer ? result : call === "receive" ? null : replica.next());
}

function called(replica: Replica, call: Exclude<ReplicaRequest["call"], "new">, given: never[]): unknown {
  if (call === "resend") return replica.inFlight ?? replica.next();
  if (call === "undo" || call === "redo") return replica.takeBack(call);
  if (call !== "reload") return (replica[call] as (...given: never[]) => unknown)(...given);
  const [document, version, isIncluded] = given as unknown as [Json, number, boolean];
  if (isIncluded) replica.included();
  return replica.reload(document, version);
}

/** The replica as it is now. It is saved and opened again now and then, as it is when an app is closed. */
function state(name: number, outgoing: unknown): unknown {
  const replica = replicas.get(name) as Replica;
  const { document, version, view, isSettled, inFlight } = replica;
  const refused = replica.refused.length;
  return { document, version, view, isSettled, inFlight, outgoing, refused };
}

function answered(
  request: CaseRequest | ReplicaRequest | { call: "reopen"; replica: number; strategies: Strategies },
) {
  if (request.call === "case") return { ...(played(request) as object), merged: merged(request) };
  if (request.call !== "reopen") return outcome(() => used(request));
  const saved = JSON.parse(JSON.stringify(replicas.get(request.replica))) as SavedReplica;
  replicas.set(request.replica, Replica.from(saved, { strategies: request.strategies }));
  return state(request.replica, null);
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(answered(JSON.parse(line)))}\n`);
}
