/** The store that the preload script offers, with the face of `Store`. */
export const bridgedStore = (files) => ({
  read: (key) => files.read(key),
  write: (changes) => files.write([...changes]),
  keys: (prefix) => files.keys(prefix),
  close: () => files.close(),
});
