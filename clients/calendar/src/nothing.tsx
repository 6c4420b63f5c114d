/** A page with nothing to show, and the way back. */

import type { ReactNode } from "react";
import { Heading } from "./heading.js";
import { monthBefore } from "./route.js";

export function Nothing({ text }: { text: string }): ReactNode {
  return (
    <>
      <Heading text={text} />
      <ToMonth />
    </>
  );
}

/** All is saved as it is written: what is left to do is to go back. */
export function ToMonth(): ReactNode {
  return (
    <a href={monthBefore()} className="back">
      To the month
    </a>
  );
}
