/** A page with nothing to show, and the way back. */

import type { ReactNode } from "react";
import { Heading } from "./heading.js";
import { monthBefore } from "./route.js";

export function Nothing({ text }: { text: string }): ReactNode {
  return (
    <>
      <Heading text={text} />
      <a href={monthBefore()}>To the month</a>
    </>
  );
}
