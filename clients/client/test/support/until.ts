/** Waiting for what a test is about to see. */

import type { Client, Readable } from "@collab/client";

const LIMIT_MS = 100_000;

/** Resolves when the condition holds; it is looked at after each change of `source`. */
export function until<S>(
  source: Readable<S>,
  holds: (snapshot: S) => boolean,
  limitMs = LIMIT_MS,
): Promise<S> {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (!holds(source.snapshot)) return;
      clearTimeout(timer);
      end();
      resolve(source.snapshot);
    };
    const timer = setTimeout(() => {
      end();
      // What is long (a view) comes last, and is cut.
      const members = Object.entries(source.snapshot as object).map(([name, value]) => {
        return `${name}: ${JSON.stringify(value)?.slice(0, 500)}`;
      });
      reject(new Error(`it never came: ${members.join(", ")}`));
    }, limitMs);
    const end = source.subscribe(look);
    look();
  });
}

/** The user works offline in a client; resolves when that is seen, there or in another tab. */
export async function goOffline(client: Client, seenBy = client): Promise<void> {
  client.disconnect();
  await until(seenBy.connection, (now) => now.isPaused);
}
