/** Where one is when another page takes the place of the one that had the focus. */

import { useEffect } from "react";

/** There is one window, and whatever shows a page in it says so here. */
let shown: string | null = null;

/** The focus goes to the page, as where what had it is no more. */
export const turnToMain = (): void => document.querySelector("main")?.focus({ preventScroll: true });

/** The focus goes to what is there now, once another page is shown. Null: it isn't known yet which one it is. */
export function useTurned(page: string | null): void {
  useEffect(() => {
    if (page === null) return;
    if (shown !== null && shown !== page) turnToMain();
    shown = page;
  }, [page]);
}
