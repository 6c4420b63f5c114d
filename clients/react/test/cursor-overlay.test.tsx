/** Others' carets and selections over a text, with real people. */

import "./support/screen.js";
import { CursorOverlay } from "@collab/react";
import { cleanup, configure, render, waitFor } from "@testing-library/react";
import { createRef } from "react";
import { afterEach, expect, test } from "vitest";
import { People } from "../../client/test/support/people.js";

const people = new People();

afterEach(cleanup);
configure({ asyncUtilTimeout: 100_000 });

test("a caret stands in the text, a selection is marked, what is shown is the text, and nothing for nobody", async () => {
  const { document: ann } = await people.event("ann", { description: "Bring cake." });
  const { document: ben } = await people.join("ben", ann.id);
  const { container } = render(<CursorOverlay document={ann} path="/description" target={createRef()} />);
  const layer = () => container.firstElementChild;
  const drawn = ({ className, style, textContent }: HTMLElement) =>
    className ? "|" : style.backgroundColor ? `[${textContent}]` : textContent;
  const shows = (text: string) =>
    waitFor(() =>
      expect([...(layer()?.children ?? [])].map((one) => drawn(one as HTMLElement)).join("")).toBe(text),
    );
  expect(layer()).toBeNull();
  ben.presence.setCursor({ field: "description", position: 6 });
  await shows("Bring |cake.");
  ben.presence.setCursor({ field: "description", position: 6, anchor: 10 });
  await shows("Bring |[cake].");
  ben.presence.setCursor({ field: "description", position: 11, anchor: 6 });
  await shows("Bring [cake.]|");
  ben.presence.setCursor({ field: "description" });
  await shows("Bring cake.|");
  ben.presence.setCursor(null);
  await waitFor(() => expect(layer()).toBeNull());
});
