/** A client of the collaboration gateway. */
export type * from "./api.js";
export { eventsOf } from "./calendars.js";
export { createClient } from "./client.js";
export { valueAt } from "./documents/conflicts.js";
export { EditError, RequestError, StoreCorruptError, StoreFullError } from "./errors.js";
export { memoryStore } from "./store/memory.js";
