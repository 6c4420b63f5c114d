/** Who types in a line while others do has a conflict for each change of theirs: all of them are one question. */

import { type Conflict, type Json, type Resolution, valueAt } from "@collab/client";
import type { SharedEvent } from "./event.js";

type Chain = readonly [oldest: Conflict, ...Conflict[]];

const PATHS = ["/title", "/location"];

/** What was written since a line was asked about last, by this person and by others. */
interface Since {
  readonly local?: Json | undefined;
  readonly remote?: Json | undefined;
}

/** Of a short text that counts as one value. */
export const isOfLine = ({ path }: Pick<Conflict, "path">): boolean => PATHS.includes(path);

/** The side that is in the event until somebody decides. */
export const standing = ({ kind }: Conflict): "mine" | "theirs" => (kind === "overwrote" ? "mine" : "theirs");

/** What is refused waits for its own answer. */
const isJoined = (one: Conflict): boolean => isOfLine(one) && one.kind !== "refused";

const newestOf = (chain: Chain): Conflict => chain.at(-1) as Conflict;

/** What is known by conflicts goes with them, once none comes back any more: as long as edits wait one may. */
export function keepOnly(known: Map<string, unknown> | Set<string>, conflicts: readonly Conflict[]): void {
  for (const id of [...known.keys()]) if (!conflicts.some((one) => one.id === id)) known.delete(id);
}

/** Of each line, the oldest first. */
function chainsOf(conflicts: readonly Conflict[]): Chain[] {
  return PATHS.flatMap((path) => {
    const [oldest, ...others] = conflicts.filter((one) => one.path === path && isJoined(one));
    return oldest ? [[oldest, ...others] as const] : [];
  });
}

export class Lines {
  /** By a line's newest conflict. */
  #since = new Map<string, Since>();

  constructor(private readonly document: SharedEvent) {}

  /** Who writes in a line that is asked about is known only as it happens. */
  watch(): () => void {
    return this.document.onChange(({ before, after, origin }) => {
      for (const chain of chainsOf(this.document.snapshot.conflicts)) {
        const { id, path } = newestOf(chain);
        const now = valueAt(after, path);
        if (now !== valueAt(before, path)) this.#since.set(id, { ...this.#since.get(id), [origin]: now });
      }
    });
  }

  /** The conflicts with each chain as one, where its oldest stood; left out where both sides are the same by now. */
  joined(conflicts: readonly Conflict[]): readonly Conflict[] {
    const chains = chainsOf(conflicts);
    return conflicts.flatMap((one) => {
      if (!isJoined(one)) return one;
      const chain = chains.find(([oldest]) => oldest === one);
      return chain && !this.#isAgreed(chain) ? this.#question(chain) : [];
    });
  }

  /** Nothing waits: what needs no answer any more gets none. */
  settle(): void {
    const { conflicts } = this.document.snapshot;
    for (const chain of chainsOf(conflicts)) if (this.#isAgreed(chain)) this.#leave(chain);
    keepOnly(this.#since, conflicts);
  }

  /** Answers a question, and with it all that it was made of; false where it isn't one of a line. */
  resolve(id: string, resolution: Resolution): boolean {
    const chain = chainsOf(this.document.snapshot.conflicts).find(([oldest]) => oldest.id === id);
    if (!chain) return false;
    const question = this.#question(chain);
    const value = typeof resolution === "string" ? question[resolution] : resolution.value;
    const now = this.#now(chain);
    const newest = newestOf(chain);
    this.#leave(value === now ? chain : chain.slice(0, -1));
    if (value === undefined || !this.document.snapshot.view) this.document.resolve(newest.id, resolution);
    else if (value !== now) this.document.resolve(newest.id, { value });
    return true;
  }

  /** As the event is. */
  #leave(conflicts: readonly Conflict[]): void {
    for (const one of conflicts) this.document.resolve(one.id, standing(one));
  }

  #now([{ path }]: Chain): Json | undefined {
    return valueAt(this.document.snapshot.view as unknown as Json, path);
  }

  #isAgreed(chain: Chain): boolean {
    const { mine, theirs } = this.#question(chain);
    return mine !== undefined && mine === theirs;
  }

  /** What this person and the others wrote last, and what was there before all of it. */
  #question(chain: Chain): Conflict {
    const [{ id, base, omitted }] = chain;
    const newest = newestOf(chain);
    const since = this.#since.get(newest.id);
    const mine = since?.local ?? newest.mine;
    const now = this.#now(chain);
    const theirs = now === undefined || now === mine ? (since?.remote ?? newest.theirs) : now;
    return { ...newest, id, base, mine, theirs, omitted: [...omitted, ...newest.omitted] };
  }
}
