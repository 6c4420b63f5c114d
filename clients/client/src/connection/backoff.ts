/** Full-jitter exponential back-off between two bounds. */

export interface Bounds {
  min_ms: number;
  max_ms: number;
}

/** Until a server told its own. */
export const DEFAULT_BOUNDS: Bounds = { min_ms: 500, max_ms: 30_000 };

/** The delay before attempt number `failures` (from 0), in ms: never under the minimum, never over the maximum. */
export function delayMs(failures: number, bounds: Bounds, random: () => number): number {
  const ceiling = Math.min(bounds.max_ms, bounds.min_ms * 2 ** (failures + 1));
  return Math.round(bounds.min_ms + random() * (ceiling - bounds.min_ms));
}
