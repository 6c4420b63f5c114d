/** The editing kernel: pure functions over immutable JSON documents, and the replica of one document. */
export {};
