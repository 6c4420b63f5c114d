/** Something that is told when it is reached, and passed when the test says so. */
export function gate() {
  let [reach, goOn] = [() => {}, () => {}];
  const isReached = new Promise<void>((resolve) => {
    reach = resolve;
  });
  const open = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const pass = () => {
    reach();
    return open;
  };
  return { isReached, goOn: () => goOn(), pass };
}
