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
  const shows = (html: string) =>
    waitFor(() =>
      expect(
        layer()
          ?.innerHTML.replace(/<span.*?<\/span>/g, "|")
          .replace(/ style=".*?"/g, ""),
      ).toBe(html),
    );
  expect(layer()).toBeNull();
  ben.presence.setCursor({ field: "description", position: 6 });
  await shows("Bring |cake.");
  ben.presence.setCursor({ field: "description", position: 6, anchor: 10 });
  await shows("Bring |<mark>cake</mark>.");
  ben.presence.setCursor({ field: "description", position: 11, anchor: 6 });
  await shows("Bring <mark>cake.</mark>|");
  ben.presence.setCursor({ field: "description" });
  await shows("Bring cake.|");
  ben.presence.setCursor(null);
  await waitFor(() => expect(layer()).toBeNull());
});
