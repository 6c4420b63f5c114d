/** The days of a month by keyboard: one of them is a tab stop, with what is in it, and arrow keys lead to the others. */

import type { KeyboardEvent } from "react";

type Step = (cells: readonly Element[], from: Element) => Element | undefined;

const beside =
  (steps: number): Step =>
  (cells, from) =>
    cells[cells.indexOf(from) + steps];

/** In its column: below the one before, where the page is too narrow for more than one. */
const inColumn =
  (sign: 1 | -1): Step =>
  (cells, from) => {
    const { left, top } = from.getBoundingClientRect();
    const ordered = sign > 0 ? cells : cells.slice().reverse();
    return ordered.find((cell) => {
      const box = cell.getBoundingClientRect();
      return Math.abs(box.left - left) < 1 && sign * (box.top - top) > 0;
    });
  };

const inRow =
  (index: 0 | -1): Step =>
  (cells, from) =>
    cells.filter((cell) => cell.parentElement === from.parentElement).at(index);

/** To its first event, or to what makes one there. */
const into: Step = (_, from) => from.querySelector("a, button") ?? undefined;

const STEPS: Readonly<Record<string, Step>> = {
  ArrowLeft: beside(-1),
  ArrowRight: beside(1),
  ArrowUp: inColumn(-1),
  ArrowDown: inColumn(1),
  Home: inRow(0),
  End: inRow(-1),
  Enter: into,
};

/** Where lines are read from the right, what is to the left comes later. */
const MIRRORED: Readonly<Record<string, string>> = { ArrowLeft: "ArrowRight", ArrowRight: "ArrowLeft" };

/**
 * Of a table: the focus goes to another of the cells that are shown, or into one. What is in a cell has an Enter of its own,
 * and a list of a day's events all of its keys.
 */
export function onGridKey(event: KeyboardEvent<HTMLTableElement>): void {
  const { key, target, currentTarget: table } = event;
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const isMirrored = getComputedStyle(table).direction === "rtl";
  const step = STEPS[(isMirrored && MIRRORED[key]) || key];
  const cell = (target as Element).closest("td, dialog");
  if (!step || cell?.localName !== "td" || (step === into && target !== cell)) return;
  event.preventDefault();
  const shown = [...table.querySelectorAll("td")].filter((one) => one.getClientRects().length);
  (step(shown, cell) as HTMLElement | undefined)?.focus();
}
