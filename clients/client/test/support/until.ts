/** Waiting for what a test is about to see. */

import type { Readable } from "@collab/client";

const LIMIT_MS = 20_000;

/** Resolves when the condition holds; it is looked at after each change of `source`. */
export function until<S>(source: Readable<S>, holds: (snapshot: S) => boolean): Promise<S> {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (!holds(source.snapshot)) return;
      clearTimeout(timer);
      end();
      resolve(source.snapshot);
    };
    const timer = setTimeout(() => {
      end();
      reject(new Error(`it never came: ${JSON.stringify(source.snapshot).slice(0, 2_000)}`));
    }, LIMIT_MS);
    const end = source.subscribe(look);
    look();
  });
}
