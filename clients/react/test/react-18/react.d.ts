/** What React 18's types have of refs. */

export interface RefObject<T> {
  readonly current: T | null;
}
export type Ref<T> = ((instance: T | null) => void) | RefObject<T> | null;
