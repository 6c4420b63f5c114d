// The bundler; where it isn't installed, the way to it.

export const { build, rolldown } = await import("rolldown").catch((error) => {
  if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
  console.error('what builds need isn\'t installed: run "npm ci" in clients/ first');
  process.exit(1);
});
