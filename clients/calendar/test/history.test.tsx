/** What a line of the history says was there before, as a real gateway tells it. */

import "../../react/test/support/screen.js";
import type { SharedDocument } from "@collab/client";
import {
  act,
  cleanup,
  configure,
  fireEvent,
  render,
  renderHook,
  screen,
  waitFor,
} from "@testing-library/react";
import { afterEach, expect, test, vi } from "vitest";
import { People } from "../../client/test/support/people.js";
import type { EventDocument } from "../src/event.js";
import { History, useEventAt } from "../src/history.js";
import { eventAt } from "../src/past.js";

configure({ asyncUtilTimeout: 100_000 });

const people = new People();

afterEach(cleanup);
afterEach(() => vi.unstubAllEnvs());

/** An event, whose answers over HTTP come when the test lets them: `held` are those that wait. */
async function event(title: string) {
  const held: (() => void)[] = [];
  const slow: typeof fetch = async (...request) => {
    const answer = await fetch(...request);
    await new Promise<void>((resolve) => held.push(resolve));
    return answer;
  };
  const client = people.client("ann", { environment: { locks: null, channel: null, fetch: slow } });
  const document: SharedDocument<EventDocument> = client.open("event", people.newId());
  await document.ready();
  document.create({ title });
  await document.saved();
  return { document, held };
}

test("an answer that comes after that of a later question is not shown", async () => {
  const [one, other] = [await event("One"), await event("Other")];
  const { result, rerender } = renderHook(({ document }) => useEventAt(document, 1), { initialProps: one });
  rerender(other);
  await waitFor(() => expect([one.held.length, other.held.length]).toEqual([1, 1]));
  await act(async () => other.held.pop()?.());
  await waitFor(() => expect(result.current).toEqual({ title: "Other" }));
  await act(async () => {
    one.held.pop()?.();
    await eventAt(one.document, 1);
  });
  expect(result.current).toEqual({ title: "Other" });
});

test("of typing in a title that is told as one, what it became at last is said", async () => {
  const client = people.client("ann", { environment: { locks: null, channel: null } });
  const document: SharedDocument<EventDocument> = client.open("event", people.newId());
  await document.ready();
  document.create({ title: "Lunch" });
  await document.saved();
  for (const title of ["My Lunch", "My own Lunch"]) {
    document.setText("/title", title);
    await document.saved();
  }
  render(<History document={document} canEdit />);
  await screen.findByText(/set the title to “My own Lunch”/);
});

test("a day lasts until the next one begins, and an hour that comes twice at its end is in it", async () => {
  vi.stubEnv("TZ", "America/Santiago"); // at the end of 4 April 2026 it is 23:00 again
  const { document, held } = await event("Lunch");
  const asked = vi.spyOn(document, "history");
  render(<History document={document} canEdit />);
  fireEvent.change(screen.getByLabelText("Since"), { target: { value: "2026-04-04" } });
  fireEvent.change(screen.getByLabelText("Until"), { target: { value: "2026-04-04" } });
  const since = new Date("2026-04-04T03:00Z");
  const until = new Date("2026-04-05T04:00Z");
  await waitFor(() => expect(asked).toHaveBeenLastCalledWith(expect.objectContaining({ since, until })));
  await act(async () => {
    for (const go of held) go();
  });
});
