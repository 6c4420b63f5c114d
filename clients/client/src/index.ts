/** A client of the collaboration gateway. */
export * from "./kernel/index.js";
