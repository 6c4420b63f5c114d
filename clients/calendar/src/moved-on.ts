/** Who moves an event on has seen when the others wanted it: of a question that is still open, that is theirs by then. */

import { type Conflict, type Json, type Patch, type ViewChange, valueAt } from "@collab/client";
import { equal } from "@collab/client/kernel";
import { isOfTime, type SharedEvent } from "./event.js";
import { keepOnly } from "./lines.js";

/** What others made of a time since one was asked about it. */
interface Since {
  readonly theirs: Json | undefined;
  /** This person has written nothing there after them. */
  readonly isLast: boolean;
}

const isAt = (one: Json | undefined, other: Json | undefined): boolean => equal(one ?? null, other ?? null);

/** What is refused stands as one wrote it until it has its answer, and where both want the same nobody is asked. */
const isOpen = ({ path, kind, mine, theirs }: Conflict): boolean =>
  isOfTime(path) && (kind === "overwrote" || kind === "dropped") && !isAt(mine, theirs);

export class MovedOn {
  /** By the conflict. */
  #since = new Map<string, Since>();

  constructor(private readonly document: SharedEvent) {}

  /**
   * Who moves an event is known only as it happens. What comes with a version more is others'; without one it is an edit that
   * leaves the view, or of another tab of this person's.
   */
  watch(): () => void {
    let { version } = this.document.snapshot;
    const heard: ViewChange[] = [];
    const ends = [
      this.document.onChange((change) => {
        if (change.origin === "remote") heard.push(change);
        else this.#note(change, false);
      }),
      this.document.subscribe(() => {
        const { snapshot } = this.document;
        const isOthers = snapshot.version > version;
        version = snapshot.version;
        for (const change of heard.splice(0)) if (isOthers) this.#note(change, true);
      }),
    ];
    return () => {
      for (const end of ends) end();
    };
  }

  #note({ before, after }: ViewChange, isOthers: boolean): void {
    const times = this.document.snapshot.conflicts.filter(isOpen);
    if (times.every(({ path }) => isAt(valueAt(before, path), valueAt(after, path)))) return;
    for (const { id, path } of times) {
      const { theirs } = this.#since.get(id) ?? {};
      if (isOthers) this.#since.set(id, { theirs: valueAt(after, path), isLast: true });
      else if (this.#since.has(id)) this.#since.set(id, { theirs, isLast: false });
    }
  }

  /** Conflicts as they are by now. */
  told(conflicts: readonly Conflict[]): readonly Conflict[] {
    return conflicts.map((one) => {
      const since = this.#since.get(one.id);
      return since ? { ...one, theirs: since.theirs } : one;
    });
  }

  isKnown(asked: readonly Conflict[]): boolean {
    return asked.some(({ id }) => this.#since.has(id));
  }

  /** What makes of the event what was chosen. */
  patchFor(asked: readonly Conflict[], side: "mine" | "theirs", view: Json): Patch {
    return asked.flatMap((one): Patch => {
      const { path } = one;
      const now = valueAt(view, path);
      const isMine = side === "mine" && this.#since.get(one.id)?.isLast === false;
      const value = isMine ? now : one[side];
      if (isAt(value, now)) return [];
      if (value === undefined) return [{ op: "remove", path }];
      return [{ op: now === undefined ? "add" : "replace", path, value }];
    });
  }

  /** What is known by conflicts goes with them. */
  settle(conflicts: readonly Conflict[]): void {
    keepOnly(this.#since, conflicts);
  }
}
