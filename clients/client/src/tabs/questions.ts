/** What the leading tab asks about the edits of following ones: the server tells nothing of it, for it never saw their base. */

import { fromMerge, type Unresolved, valueAt } from "../documents/conflicts.js";
import type { DocumentState } from "../documents/state.js";
import {
  apply,
  equal,
  formatPointer,
  type Json,
  type Operation,
  type Operations,
  type Path,
  rebase,
} from "../kernel/index.js";
import type { Change } from "../wire.js";

/** A change of the leading tab's view. */
export interface ViewStep {
  before: Json;
  operations: Operations;
  after: Json;
  /** A client id; null: several, or nobody knows. */
  author: string | null;
  /** What others did, as the server told it. */
  by?: Change | undefined;
}

export function ask(state: DocumentState, questions: readonly Unresolved[]): void {
  state.onConflicts(questions);
  void state.store();
  state.refresh();
}

/** As the server refuses. */
export const refused = (question: Unresolved, version: number): Unresolved => ({
  ...question,
  kind: "refused",
  told: { kind: question.kind as Meeting["kind"], path: question.path, version },
});

type Writing = Extract<Operation, readonly ["set" | "txt", ...unknown[]]>;

/** Where an operation met what others wrote. */
interface Meeting {
  step: ViewStep;
  kind: "overwrote" | "dropped";
  /** Behind that step, and by now. */
  at: Path;
  path: Path;
}

/**
 * Of `operations`, which stand on `base`, what was written in the same places `since`, unseen by their author, and by
 * others than this client. Where they deleted the document, its author asks.
 */
export function unseen(
  base: Json,
  operations: Operations,
  since: readonly ViewStep[],
  clientId: string,
): Unresolved[] {
  const mine = apply(base, operations);
  const questions = new Map<string, Unresolved>(); // one a place, however often it was written
  for (const operation of operations.filter(isPlaced)) {
    const met = meeting(operation, since);
    if (!met || met.step.author === clientId || met.step.after === null) continue;
    const seen = formatPointer(operation[1]);
    const question = asked(met, seen, base, mine);
    if (!isSettled(question)) questions.set(seen, question);
  }
  return [...questions.values()];
}

/** Did they leave what was there, or write the same? */
const isSettled = ({ place, base, mine, theirs }: Unresolved): boolean =>
  place !== "lost" && [base, mine].some((one) => equal(one, theirs));

/** Is it known what stands at its path in the documents before and after all of the edit? */
const isPlaced = (operation: Operation, _: number, { length }: Operations): operation is Writing =>
  (operation[0] === "set" || operation[0] === "txt") && (length === 1 || !operation[1].some(isIndex));

const isIndex = (token: string | number): boolean => typeof token === "number";

/** The last step that wrote there, or that left nothing of the operation. */
function meeting(operation: Writing, since: readonly ViewStep[]): Meeting | null {
  let [here, met]: [Writing, Meeting | null] = [operation, null];
  for (const step of since) {
    const [moved] = rebase([here], [step.operations]) as [Writing?];
    if (!moved) return { step, kind: "dropped", at: here[1], path: here[1] };
    if (isWritten(here, moved, step)) met = { step, kind: "overwrote", at: moved[1], path: moved[1] };
    here = moved;
  }
  return met && { ...met, path: here[1] };
}

/** Texts in which both type are merged. */
const isWritten = ([kind, before]: Writing, [, after]: Writing, step: ViewStep): boolean =>
  kind === "set" && !equal(there(step.before, before), there(step.after, after));

const there = (document: Json, path: Path): Json | undefined => valueAt(document, formatPointer(path));

function asked({ step, kind, at, path }: Meeting, seen: string, base: Json, mine: Json): Unresolved {
  const isLost = kind === "dropped" && path.some(isIndex);
  const theirs = isLost ? undefined : there(step.after, at); // at a lost item's index another stands
  const sides = { base: valueAt(base, seen), mine: valueAt(mine, seen), theirs };
  return {
    ...fromMerge({ path: formatPointer(path), ...sides }, step.by?.version ?? 0, step.by),
    kind,
    place: isLost ? "lost" : "node",
  };
}
