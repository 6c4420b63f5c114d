/** What a client tells its application of. */

import type { Client, Problem } from "@collab/client";

/** The problems of a client, as they come. */
export function problemsOf(client: Client): Problem[] {
  const problems: Problem[] = [];
  client.onProblem((problem) => problems.push(problem));
  return problems;
}
