/** What a page is called: on it, in the browser's tab, and where `main` is read out. */

import { type ComponentProps, type ReactNode, useEffect } from "react";

export const HEADING = "heading";

export function Heading({ text, ...rest }: ComponentProps<"h1"> & { text: string }): ReactNode {
  useEffect(() => {
    document.title = `${text} – Calendar`;
    return () => {
      document.title = "Calendar";
    };
  }, [text]);
  return (
    <h1 id={HEADING} {...rest}>
      {text}
    </h1>
  );
}
