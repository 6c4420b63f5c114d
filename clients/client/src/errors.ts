/** The errors that the client throws. */

/** An edit that can't be made: `code` as the server would say it (docs/reference/protocol.md), `NOT_READY` or `CLOSED`. */
export class EditError extends Error {
  override readonly name = "EditError";
  constructor(
    readonly code: string,
    message: string,
    /** The position of the operation in its patch, where one is to blame. */
    readonly index: number | null = null,
  ) {
    super(message);
  }
}

/** A request that the server refused. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  constructor(
    readonly code: string,
    message: string,
    readonly status: number,
    /** The problem as the server told it. */
    readonly problem: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }

  /** Says nothing of what was asked for: later, or with another token, the answer may be another. */
  get isPassing(): boolean {
    return this.status >= 500 || this.status === 401 || this.status === 429;
  }
}

/** A store that takes no more. */
export class StoreFullError extends Error {
  override readonly name = "StoreFullError";
}

/** A store, or one of its values, that can't be read. */
export class StoreCorruptError extends Error {
  override readonly name = "StoreCorruptError";
}
