/** Where one is when another page takes the place of the one that had the focus. */

import { useEffect } from "react";

/** There is one window, and whatever shows a page in it says so here. */
let shown: string | null = null;

const turnTo = (place: string): void =>
  document.querySelector<HTMLElement>(place)?.focus({ preventScroll: true });

/** The focus goes to the page, as where what had it is no more. */
export const turnToMain = (): void => turnTo("main");

/**
 * The focus goes to what is there now, or to a place in it (a selector), once another page is shown. Null: it isn't known
 * yet which one it is.
 */
export function useTurned(page: string | null, place = "main"): void {
  useEffect(() => {
    if (page === null) return;
    if (shown !== null && shown !== page) turnTo(place);
    shown = page;
  }, [page, place]);
}
