/** The history on screen, of documents of a real gateway. */

import "./support/screen.js";
import type { ClientOptions } from "@collab/client";
import { HistoryPanel, type HistoryPanelProps } from "@collab/react";
import { act, cleanup, configure, render, screen, waitFor, within } from "@testing-library/react";
import { afterEach, expect, test } from "vitest";
import { type Event, People } from "../../client/test/support/people.js";
import { until } from "../../client/test/support/until.js";

const people = new People();
const ALONE = { locks: null, channel: null, tab: null };

afterEach(cleanup);
configure({ asyncUtilTimeout: 100_000 });

/** HTTP as it is, whose answers come when the test lets them. */
class Line {
  #held: (() => void)[] | null = null;

  readonly fetch: typeof fetch = async (...request) => {
    const answer = await fetch(...request);
    if (this.#held) await new Promise<void>((resolve) => this.#held?.push(resolve));
    return answer;
  };

  hold(): void {
    this.#held = [];
  }

  get held(): number {
    return this.#held?.length ?? 0;
  }

  /** Those that are held come now, the newest first. */
  async release(): Promise<void> {
    const held = this.#held?.reverse() ?? [];
    this.#held = null;
    for (const resolve of held) await act(async () => resolve());
  }
}

const environment = (line = new Line()): Partial<ClientOptions> => ({
  environment: { ...ALONE, fetch: line.fetch },
});

/** An event with so many changes. */
async function changed(count: number, line = new Line()) {
  const { client, document } = await people.event("ann", { title: "Sync", tags: [] }, environment(line));
  for (let number = 2; number <= count; number++) {
    document.edit({ op: "add", path: "/tags/-", value: `tag ${number}` });
    await document.saved();
  }
  return { client, document };
}

const shown = () => screen.queryAllByRole("listitem").map((item) => versionIn(item));
const versionIn = (item: HTMLElement) => Number(item.querySelector("[data-version]")?.textContent);

function Panel({ limit = 2, ...others }: HistoryPanelProps<Event>) {
  const describe = ({ version }: { version: number }) => <i data-version>{version}</i>;
  return <HistoryPanel {...others} limit={limit} describe={describe} />;
}

const shows = (...versions: number[]) => waitFor(() => expect(shown()).toEqual(versions));
const older = () => screen.getByRole("button", { name: "Older changes" });

test("older changes come once, however often they are asked for, and stay when there are new ones", async () => {
  const line = new Line();
  const { document } = await changed(8, line);
  render(<Panel document={document} />);
  await shows(8, 7);
  line.hold();
  act(() => older().click());
  await waitFor(() => expect(line.held).toBe(1));
  act(() => older().click());
  await waitFor(() => expect(line.held).toBe(2));
  await line.release();
  await shows(8, 7, 6, 5, 4, 3);
  document.set("/location", "Room 9");
  await shows(9, 8, 7, 6, 5, 4);
});

test("what was read before comes to nothing when it arrives after what is newer", async () => {
  const line = new Line();
  const { document } = await people.event("ann", { title: "Sync" }, environment(line));
  line.hold();
  render(<Panel document={document} />);
  await waitFor(() => expect(line.held).toBe(1));
  document.set("/location", "Room 2");
  await waitFor(() => expect(line.held).toBe(2));
  await line.release();
  await shows(2, 1);
});

test("another document's changes are never shown beside this one's name", async () => {
  const { client, document: one } = await changed(3);
  const two = client.open<Event>("event", people.newId());
  two.create({ title: "Two" });
  await two.saved();
  const { rerender } = render(<Panel document={one} />);
  await shows(3, 2);
  rerender(<Panel document={two} />);
  expect(shown()).toEqual([]);
  await shows(1);
});

test("a history that couldn't be read offline is read when there is a connection again", async () => {
  let isDown = true;
  const down: typeof fetch = async (...request) => {
    if (isDown) throw new TypeError("fetch failed");
    return fetch(...request);
  };
  const { client, document } = await people.event(
    "ann",
    { title: "Sync" },
    { environment: { ...ALONE, fetch: down } },
  );
  client.disconnect();
  await until(document, ({ isLive }) => !isLive);
  render(<Panel document={document} />);
  await screen.findByRole("alert");
  isDown = false;
  client.connect();
  await shows(1);
  expect(screen.queryByRole("alert")).toBeNull();
});

test("a part of the history is shown: of one person, and since a time", async () => {
  const { document } = await changed(2);
  const { document: ben } = await people.join("ben", document.id, environment());
  ben.set("/title", "Ben's");
  await ben.saved();
  const { rerender } = render(<Panel document={document} />);
  await shows(3, 2);
  rerender(<Panel document={document} query={{ userId: "ben" }} />);
  expect(shown()).toEqual([]);
  await shows(3);
  expect(screen.queryByText("No changes.")).toBeNull();
  rerender(<Panel document={document} query={{ userId: "cleo" }} />);
  await screen.findByText("No changes.");
  expect(shown()).toEqual([]);
  rerender(<Panel document={document} query={{ userId: "ann" }} />);
  await shows(2, 1);
  const [newest] = (await document.history()).entries;
  rerender(<Panel document={document} query={{ since: new Date(newest?.timestamp ?? 0) }} />);
  await shows(3);
});

test("a time is shown, and read out, as the application has it", async () => {
  const { document } = await changed(2);
  render(<Panel document={document} timeOf={(time) => time.toJSON()} />);
  await shows(2, 1);
  const made = (await document.history()).entries[1];
  const when = new Date(made?.timestamp ?? 0).toJSON();
  expect(screen.getAllByRole("time")[1]?.textContent).toBe(when);
  screen.getByRole("button", { name: `Restore version 1, ${when}, ann` });
});

test("one can go back to a change, but not to nothing", async () => {
  const { document } = await people.event("ann", { title: "Sync" }, environment());
  await document.delete();
  document.create({ title: "Again" });
  await document.saved();
  document.set("/title", "Once more");
  render(<Panel document={document} limit={20} />);
  await shows(4, 3, 2, 1);
  const restorable = screen.getAllByRole("listitem").filter((item) => within(item).queryByRole("button"));
  expect(restorable.map(versionIn)).toEqual([3, 1]);
  const [made] = (await document.history({ limit: 20 })).entries.slice(-1);
  const when = new Date(made?.timestamp ?? 0).toLocaleString();
  expect(
    within(restorable[1] as HTMLElement)
      .getByRole("button")
      .getAttribute("aria-label"),
  ).toBe(`Restore version 1, ${when}, ann`);
  await act(() =>
    within(restorable[1] as HTMLElement)
      .getByRole("button")
      .click(),
  );
  await until(document, ({ view }) => view?.title === "Sync");
});
