/** Cursors from before what a gateway remembers of a document. */

import { expect, test } from "vitest";
import { People } from "./support/people.js";
import { until } from "./support/until.js";

const people = new People({ "limits.window_versions_max": 1 });

test("of a cursor whose text nobody remembers only the field is shown", async () => {
  const { document: ann } = await people.event("ann", { description: "abc" });
  const { document: ben } = await people.join("ben", ann.id);
  ben.presence.setCursor({ field: "description", position: 1 });
  await until(ann.presence, (now) => now.others[0]?.cursor.position === 1);
  const seen = new Set<number | undefined>();
  for (let late = 0; !seen.has(undefined) && late < 40; late++) {
    // The window is cut now and then: until it is, the cursor is carried.
    for (const letter of "abc") {
      ann.edit({ op: "text", path: "/description", value: [letter] });
      await ann.saved();
    }
    const { client, document } = await people.join(`late-${late}`, ann.id, { visible: false });
    const { others } = await until(document.presence, (now) => now.others.length === 2);
    const cursor = others.find(({ user_id }) => user_id === "ben")?.cursor;
    expect([1 + 3 * (late + 1), undefined]).toContain(cursor?.position);
    seen.add(cursor?.position);
    await client.close();
  }
  expect(seen).toContain(undefined);
});
