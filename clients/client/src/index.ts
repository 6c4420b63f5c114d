/** A client of the collaboration gateway. */
export type * from "./api.js";
export { EditError, RequestError, StoreCorruptError, StoreFullError } from "./errors.js";
