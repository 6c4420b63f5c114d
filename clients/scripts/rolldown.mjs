// The bundler; where it isn't installed, the way to it.

// "use client" stays where the source has it; it is no fault.
export const checks = { moduleLevelDirective: false };

export const { build, rolldown } = await import("rolldown").catch((error) => {
  if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
  console.error('what builds need isn\'t installed: run "npm ci" in clients/ first');
  process.exit(1);
});
