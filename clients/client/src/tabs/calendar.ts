/** A calendar of the leading tab, told to the other tabs as the server tells one. */

import type { Calendar, Problem, Summary } from "../api.js";

export class TabCalendar {
  #tabs = new Set<string>();
  #unsubscribe: () => void;
  #failure: string | null = null; // why it isn't listed, as of now

  constructor(
    private readonly calendar: Calendar,
    private readonly tell: (tab: string, type: string, payload: object) => void,
  ) {
    this.#unsubscribe = calendar.subscribe(() => {
      this.#failure = null;
      this.#showAll();
    });
  }

  get isEmpty(): boolean {
    return this.#tabs.size === 0;
  }

  join(tab: string): void {
    this.#tabs.add(tab);
    this.#show(tab);
  }

  leave(tab: string): void {
    this.#tabs.delete(tab);
  }

  end(): void {
    this.#unsubscribe();
    this.calendar.close();
  }

  /** The leading tab can't list it, or not all of it. */
  fail({ message }: Problem): void {
    this.#failure = message;
    this.#showAll();
  }

  #showAll(): void {
    for (const tab of this.#tabs) this.#show(tab);
  }

  /** Everything that the leading tab shows, if it shows anything yet, and why not. */
  #show(tab: string): void {
    const { status, items, isLive } = this.calendar.snapshot;
    if (status === "forbidden") this.tell(tab, "ERROR", { code: "FORBIDDEN", ref: "children" });
    else if (status === "ready") this.tell(tab, "CHILDREN", { items: items.map(itemOf), is_live: isLive });
    if (this.#failure !== null) this.tell(tab, "CHILDREN_FAILED", { message: this.#failure });
  }
}

const itemOf = ({ type, id, ...told }: Summary) => ({ resource: type, resource_id: id, ...told });
