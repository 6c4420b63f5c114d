/** Promises that are kept when a count is reached: "every edit so far has arrived". */

interface Waiter {
  count: number;
  resolve: () => void;
  reject: (error: Error) => void;
}

export class Waiters {
  #all: Waiter[] = [];

  wait(count: number, reached: number): Promise<void> {
    if (reached >= count) return Promise.resolve();
    return new Promise((resolve, reject) => this.#all.push({ count, resolve, reject }));
  }

  reached(count: number): void {
    for (const waiter of this.#all.splice(0)) {
      if (waiter.count <= count) waiter.resolve();
      else this.#all.push(waiter);
    }
  }

  reject(error: Error): void {
    for (const waiter of this.#all.splice(0)) waiter.reject(error);
  }
}
