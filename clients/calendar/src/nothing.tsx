/** A page with nothing to show, and the way back. */

import type { ReactNode } from "react";

export function Nothing({ text }: { text: string }): ReactNode {
  return (
    <>
      <h1>{text}</h1>
      <a href="#/">To the month</a>
    </>
  );
}
