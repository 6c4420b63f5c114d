/** What a schema says about the fields of a document: how concurrent edits of them merge. */

import { formatPointer, type Path } from "./paths.js";

/**
 * How concurrent edits of a field merge, as a schema's `x-merge` has it. The items of a set are known by the
 * member named, or by themselves; a `grow` is a set from which nothing is removed.
 */
export type Strategy =
  | "register"
  | "text"
  | "counter"
  | "set"
  | "grow"
  | { readonly set: string }
  | { readonly grow: string };
/** By JSON Pointer. Other fields are registers: the last writer wins. */
export type Strategies = Readonly<Record<string, Strategy>>;

/** What a strategy says of an array that is a set: the member that is its items' id, "" for themselves. */
export function idOf(strategy: Strategy | undefined): string | undefined {
  if (typeof strategy === "object") return "set" in strategy ? strategy.set : strategy.grow;
  return strategy === "set" || strategy === "grow" ? "" : undefined;
}

export const grows = (strategy: Strategy | undefined): boolean =>
  strategy === "grow" || (typeof strategy === "object" && "grow" in strategy);

export const isSet = (strategy: Strategy | undefined): boolean => idOf(strategy) !== undefined;

export const strategyAt = (strategies: Strategies, path: Path): Strategy | undefined =>
  strategies[formatPointer(path)];
