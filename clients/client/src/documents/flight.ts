/** How many edits wait, are in flight and have their answer, and what the one in flight waits for. */

/** As a record has it. */
export interface SavedFlight {
  edits: number;
  flying: number;
  isForced?: boolean;
  isHeld?: boolean;
  answeredUpTo?: number;
}

export class Flight {
  /** Edits without an answer; the first `flying` of them are in flight. */
  pending = 0;
  flying = 0;
  /** Edits whose fate is known, counted from the beginning of this object; less than none, where a record has others. */
  settled = 0;
  /** The submission in flight waits for the user's word on its conflicts. */
  isAsking = false;
  /** All that isn't sent yet waits for it: what a tab that follows wrote over unseen is among that. */
  isHeld = false;
  /** It goes again although it has conflicts: the user said so. */
  isForced = false;
  /** The newest version that the user was asked about: what stands there has an answer. */
  answeredUpTo = -1;
  /** It was sent on the present connection. */
  isSent = false;
  /** It never was, on any: what the server has under its `seq` is another. */
  isFresh = false;

  /** What a record has comes before what is here, for which somebody may be waiting. */
  restore({ edits, flying, isForced = false, isHeld = false, answeredUpTo = -1 }: SavedFlight): void {
    this.ground();
    this.isHeld = isHeld;
    this.isForced = isForced;
    this.answeredUpTo = answeredUpTo;
    this.pending += edits;
    this.settled -= edits;
    this.flying = flying;
  }

  /** Does nothing wait behind what is in flight? */
  get isAll(): boolean {
    return this.flying === this.pending;
  }

  /** Where not all that waits went in one patch, nothing of it counts as saved before the rest is. */
  launch(isAll: boolean): void {
    this.flying = isAll ? this.pending : 0;
    this.isFresh = true;
  }

  /** What is in flight has its answer; with `isAll` nothing else waits. */
  land(isAll: boolean): void {
    const done = isAll ? this.pending : this.flying;
    this.settled += done;
    this.pending -= done;
    this.isHeld &&= !isAll;
    this.ground();
  }

  save(): SavedFlight {
    const { pending: edits, flying, isAsking, isForced, isHeld, answeredUpTo } = this;
    return { edits, flying, isForced, isHeld, answeredUpTo: isAsking ? -1 : answeredUpTo }; // without an answer it is asked again
  }

  /** What was in flight waits again. */
  ground(): void {
    this.flying = 0;
    this.isAsking = this.isForced = this.isSent = this.isFresh = false;
    this.answeredUpTo = -1;
  }
}
