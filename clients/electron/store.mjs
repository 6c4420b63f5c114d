import { StoreCorruptError, StoreFullError } from "@collab/client";

const ERRORS = { StoreCorruptError, StoreFullError };

/** What the preload script answered, or what failed there, by its name. */
async function answered(answer) {
  const { value, failed, message } = await answer;
  if (failed) throw new (ERRORS[failed] ?? Error)(message);
  return value;
}

/** The store that the preload script offers, with the face of `Store`. */
export const bridgedStore = (files) => ({
  read: (key) => answered(files.read(key)),
  write: (changes) => answered(files.write([...changes])),
  keys: (prefix) => answered(files.keys(prefix)),
  close: () => answered(files.close()),
});
