/** The golden vectors of the editing semantics, which hold for every implementation. */

import { readFileSync } from "node:fs";
import type { Json, Operations, Patch, Strategies, Strategy } from "@collab/client/kernel";

/** The cases of one file of tests/vectors. */
export function vectors<Fields>(name: string): Fields[] {
  return JSON.parse(readFileSync(new URL(`../../../../tests/vectors/${name}.json`, import.meta.url), "utf8"));
}

export interface Refusal {
  code: string;
  index: number | null;
}

export type WrittenStrategies = { path: string[]; merge: Strategy }[];

export const strategiesOf = (written: WrittenStrategies | undefined): Strategies =>
  Object.fromEntries(
    (written ?? []).map(({ path, merge }) => [path.map((token) => `/${token}`).join(""), merge]),
  );

export interface LowerCase {
  document: Json;
  patch: Patch;
  strategies?: WrittenStrategies;
  operations?: Operations;
  after?: Json;
  error?: Refusal;
}
