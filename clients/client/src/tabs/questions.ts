/** What the leading tab asks about the edits of following ones: the server tells nothing of it, for it never saw their base. */

import type { Step } from "../documents/change.js";
import { fromMerge, isIndex, placeAfter, type Unresolved } from "../documents/conflicts.js";
import type { DocumentState } from "../documents/state.js";
import {
  apply,
  equal,
  find,
  formatPointer,
  invert,
  type Json,
  type Operation,
  type Operations,
  type Path,
  rebase,
} from "../kernel/index.js";
import type { Change } from "../wire.js";

/** A change of the leading tab's view. */
export interface ViewStep extends Step {
  /** What others did, as the server told it. */
  by?: Change | undefined;
}

export function ask(state: DocumentState, questions: readonly Unresolved[]): void {
  state.onConflicts(questions);
  void state.store();
  state.refresh();
}

type Writing = Extract<Operation, readonly ["set" | "txt" | "inc" | "rem", ...unknown[]]>;
type Move = Extract<Operation, readonly ["mov", ...unknown[]]>;
/** What was written over an item that others removed makes it again. */
type Carried = Writing | Extract<Operation, readonly ["ins", ...unknown[]]>;

/** Where an operation met what others wrote. */
interface Meeting {
  step: ViewStep;
  kind: "overwrote" | "dropped";
  theirs: Json | undefined;
  /** By now. */
  path: Path;
  /** Others removed the item, and the operation makes it again. */
  isAgain: boolean;
}

/**
 * Of `operations`, which stand on `base` and became `committed`, what was written in the same places `since`, unseen by
 * their author, and by others than this client. Where they deleted the document, its author asks.
 */
export function unseen(
  base: Json,
  operations: Operations,
  since: readonly ViewStep[],
  committed: Operations,
  clientId: string,
): Unresolved[] {
  if (!since.length) return [];
  const edit = operations.filter(([kind]) => kind !== "tst");
  const isMet = writtenIn([...edit.filter(isMove), ...since.flatMap((step) => step.operations)]);
  const mine = apply(base, edit);
  const undone = invert(base, edit);
  const questions = new Map<string, Unresolved>(); // one a place, however often it was written
  const isOthers = ({ author, after }: ViewStep) => author !== clientId && after !== null;
  for (const [index, operation] of edit.entries()) {
    const before = undone.slice(edit.length - index);
    const left = isMove(operation) && leftOf(operation, before, since);
    if (left && isOthers(left.step)) questions.set(formatPointer(left.from), notMoved(left, base));
    if (!isWriting(operation) || !isMet(operation[1])) continue;
    const first = asFirst(operation, before);
    const met = first && meeting(first, since);
    if (!met || !isOthers(met.step)) continue;
    const isGap = leavesGap(operation);
    const last = placeAfter(operation[1], isGap, [edit.slice(index + 1)]);
    if (!last) continue;
    const sides = { base: find(base, first[1]), mine: isGap ? undefined : find(mine, last) };
    const question = asked(met, sides, isGap, committed);
    if (!isSettled(question)) questions.set(formatPointer(first[1]), question);
  }
  return [...questions.values()];
}

/** Did they leave what was there, or write the same? */
const isSettled = ({ place, base, mine, theirs }: Unresolved): boolean =>
  place !== "lost" && [base, mine].some((one) => equal(one, theirs));

const isWriting = (operation: Operation | undefined): operation is Writing =>
  ["set", "txt", "inc", "rem"].includes(operation?.[0] ?? "");

const leavesGap = ([kind, path]: Writing): boolean => kind === "rem" && isIndex(path.at(-1));

const isMove = (operation: Operation | undefined): operation is Move => operation?.[0] === "mov";

/** Tells of a path whether these operations can have written there: in its member of the document, or anywhere. */
function writtenIn(operations: Operations): (path: Path) => boolean {
  const written = operations.filter(([kind]) => kind !== "tst");
  const members = new Set(written.map(([, path]) => path?.[0]));
  const isAnywhere = members.has(undefined) || [...members].some(isIndex) || written.some(isMove);
  return ([member]) => isAnywhere || member === undefined || members.has(member);
}

/** An operation without those before it in its edit; null where it writes in what came with them. */
function asFirst(operation: Writing, undone: Operations): Writing | null {
  const [first] = operation[1].some(isIndex) ? rebase([operation], [undone]) : [operation];
  return isWriting(first) ? first : null;
}

/** The last step that wrote there, or that left nothing of the operation: of a removal that needs no answer. */
function meeting(operation: Writing, since: readonly ViewStep[]): Meeting | null {
  let [here, met]: [Carried, Omit<Meeting, "path" | "isAgain"> | null] = [operation, null];
  for (const step of since) {
    const [moved] = rebase([here], [step.operations]) as [Carried?];
    if (!moved) return operation[0] === "rem" ? null : gone(here[1], step);
    const theirs = moved[0] === "ins" ? undefined : find(step.after, moved[1]);
    if (isWritten(here, step, theirs)) met = { step, kind: "overwrote", theirs };
    here = moved;
  }
  return met && { ...met, path: here[1], isAgain: here[0] === "ins" };
}

/** At a lost item's index another stands. */
const gone = (path: Path, step: ViewStep): Meeting => ({
  step,
  kind: "dropped",
  theirs: path.some(isIndex) ? undefined : find(step.after, path),
  path,
  isAgain: false,
});

/** Texts in which both type are merged. */
const isWritten = ([kind, path]: Carried, { before }: ViewStep, theirs: Json | undefined): boolean =>
  (kind === "set" || kind === "rem") && !equal(find(before, path), theirs);

/** A move from there of which a step left nothing, or only that the item goes. */
interface Left {
  from: Path;
  step: ViewStep;
}

function leftOf(move: Move, before: Operations, since: readonly ViewStep[]): Left | null {
  const first = rebase([move], [before]).find(isMove);
  const step = first && leftBy(first, since);
  return step ? { from: first[1], step } : null;
}

/** Null where it was made, or where others had made it. */
function leftBy(move: Move, since: readonly ViewStep[]): ViewStep | null {
  let here = move;
  for (const step of since) {
    const carried = rebase([here], [step.operations]);
    const next = carried.find(isMove);
    if (!next) return carried.length || !placeAfter(here[1], false, [step.operations]) ? step : null;
    here = next;
  }
  return null;
}

/** Nobody can say what it would have written where. */
const notMoved = ({ from, step }: Left, base: Json): Unresolved => ({
  ...fromMerge(
    { path: formatPointer(from), base: find(base, from), mine: undefined, theirs: undefined },
    0,
    step.by,
  ),
  kind: "dropped",
  place: "lost",
});

function asked(
  { step, kind, theirs, path, isAgain }: Meeting,
  sides: Pick<Unresolved, "base" | "mine">,
  isGap: boolean,
  committed: Operations,
): Unresolved {
  // An item that is made again stands where it did, unless other changes were made with it.
  const place = isAgain && committed.length === 1 ? path : placeAfter(path, isGap, [committed]);
  const isLost = path.some(isIndex) && (kind === "dropped" || !place || (isAgain && committed.length > 1));
  const found = { path: formatPointer(place ?? path), ...sides, theirs };
  return {
    ...fromMerge(found, 0, step.by),
    kind,
    place: isLost ? "lost" : isGap ? "gap" : "node",
  };
}
