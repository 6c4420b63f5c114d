/** Who moves an event on has seen when the others wanted it: of a question that is still open, that is theirs by then. */

import { type Conflict, type Json, type Patch, valueAt } from "@collab/client";
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

export class MovedOn {
  /** By the conflict. */
  #since = new Map<string, Since>();

  constructor(private readonly document: SharedEvent) {}

  /**
   * Who moves an event is known only as it happens. What is refused stands as one wrote it until it has its answer, and
   * where both want the same nobody is asked.
   */
  watch(): () => void {
    return this.document.onChange(({ before, after, origin }) => {
      const times = this.document.snapshot.conflicts.filter(
        ({ path, kind, mine, theirs }) =>
          isOfTime(path) && (kind === "overwrote" || kind === "dropped") && !isAt(mine, theirs),
      );
      if (times.every(({ path }) => isAt(valueAt(before, path), valueAt(after, path)))) return;
      for (const { id, path } of times) {
        const { theirs } = this.#since.get(id) ?? {};
        if (origin === "remote") this.#since.set(id, { theirs: valueAt(after, path), isLast: true });
        else if (this.#since.has(id)) this.#since.set(id, { theirs, isLast: false });
      }
    });
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
