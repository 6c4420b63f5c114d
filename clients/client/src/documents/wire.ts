/** One document on the wire: what is subscribed, what each message means, and what goes out when. */

import type { Json, Patch, Role } from "../api.js";
import { GapError, type Outgoing, PatchError } from "../kernel/index.js";
import {
  type Answer,
  type Change,
  FINAL,
  type Message,
  type Missing,
  type Payload,
  pauseOf,
  RETRY_MS,
} from "../wire.js";
import type { Sender } from "./context.js";
import { Outbox } from "./outbox.js";
import { type ServerError, verdictOn } from "./refusals.js";
import { NO_EPOCH } from "./replicator.js";
import type { DocumentState } from "./state.js";

type Told = Missing & Change & Answer & { current_version: number; id: string; operation: Patch[number] };

export const CHANGES_MAX = 1_000;
/** More than what an OP has around its operations. */
const ENVELOPE_BYTES = 1_024;
/** Of a message the server counts them before it is parsed, in texts too: 65,536 with the envelope's. */
const BRACKETS_MAX = 65_500;

export class DocumentWire {
  readonly outbox: Outbox;
  /** Changes that were told don't fit: the next answer must be a state. */
  needsState = false;
  /** The id of the SUBSCRIBE that has no answer yet. */
  subscribeRef: string | null = null;
  /** As the last SUBSCRIBE said. */
  #visible = true;

  constructor(private readonly state: DocumentState) {
    const { environment, typingIntervalMs } = state.context;
    this.outbox = new Outbox(environment, typingIntervalMs, () => void this.#flush());
  }

  // --------------------------------------------------------------------------------------- subscribing

  /** What SUBSCRIBE asks for. */
  subscription(): Payload {
    const { type, id, replicator } = this.state;
    const { replica, epoch } = replicator;
    const isKnown = replica && !this.needsState && epoch !== NO_EPOCH;
    const isNew = replica && epoch === NO_EPOCH && !replica.version;
    const seen: Payload = isKnown ? { version: replica.version, epoch } : isNew ? { is_new: true } : {};
    return { resource: type, resource_id: id, ...seen, ...this.#onConflict() };
  }

  /** A tab that leads is told with a SUBSCRIBE too: it may have edits to send that this one made. */
  #onConflict(): Payload {
    const { onConflict } = this.state;
    return onConflict ? { on_conflict: onConflict === "ask" ? "refuse" : "merge" } : {};
  }

  /** A subscription is on its way, alone or with others'. */
  onOnline(): void {
    this.state.replicator.flight.isSent = false;
    this.#visible = this.state.context.isVisible();
  }

  subscribe(): void {
    this.onOnline();
    const payload = { ...this.subscription(), visible: this.#visible, max_changes: CHANGES_MAX };
    this.subscribeRef = this.state.send("SUBSCRIBE", payload);
  }

  unsubscribe(): void {
    if (this.state.isLive || this.subscribeRef) this.state.send("UNSUBSCRIBE", {});
  }

  #subscribeAgain(needsState: boolean): void {
    this.state.isLive = false;
    this.needsState = needsState;
    this.subscribe();
  }

  #subscribeLater(pauseMs?: unknown): void {
    const again = () => {
      if (!this.state.isLive && this.state.status !== "closed") this.subscribe();
    };
    this.state.context.environment.setTimeout(again, pauseOf(pauseMs, RETRY_MS));
  }

  /** A bug: the other documents go on, and this one begins anew a while later. */
  #onBug(cause: unknown): void {
    const { type, id, context } = this.state;
    this.state.isLive = false;
    this.needsState = true;
    context.onProblem({ code: "ERROR", message: "A message can't be read.", type, id, cause });
    this.#subscribeLater();
  }

  // ----------------------------------------------------------------------------------------- receiving

  onMessage({ type, payload }: Message): void {
    const { state } = this;
    try {
      this.#onMessage(type, payload);
    } catch (error) {
      // Versions are missing, or what came doesn't fit: ask again, at last for the whole state.
      if (error instanceof GapError) this.#subscribeAgain(false);
      else if (error instanceof PatchError) this.#subscribeAgain(true);
      else this.#onBug(error);
    }
    const author = type === "OP_ACK" ? state.context.clientId() : payload.client_id;
    state.remember(author as string | undefined);
    state.refresh();
    // What waited for it, or was made by whoever heard of it.
    if (state.replicator.isDue && !this.outbox.isWaiting) this.outbox.request(true);
  }

  #onMessage(type: string, payload: Payload): void {
    const { state } = this;
    const told = payload as unknown as Told;
    if (type === "SUBSCRIBE_ACK") this.#onSubscribed(told, payload.role as Role);
    else if (type === "SYNC_RESPONSE") this.#onState({ ...told, version: told.current_version });
    else if (type === "ERROR") this.#onError(payload.ref as string | null, payload as unknown as ServerError);
    else if (type === "ROLE_CHANGED") {
      state.role = payload.role as Role | null;
      if (!state.role) state.forbid({ code: "FORBIDDEN", message: "The token grants it no more." });
    } else if (!state.isLive) {
      // of a subscription before: the answer to the new one has it all
    } else if (type.startsWith("PRESENCE_")) state.presence.onMessage(type, payload);
    else if (type === "OP_BROADCAST") {
      state.replicator.receive({ operations: [told.operation], ...payload } as object as Change);
      state.storeSoon();
    } else if (type === "OP_ACK") {
      state.replicator.acknowledge(Number(told.id.slice("op-".length)), told);
      void state.store();
    }
  }

  #onSubscribed(missing: Missing, role: Role): void {
    const { state } = this;
    state.role = role;
    this.subscribeRef = null;
    this.resume(missing);
    state.isLive = true;
    // What was wished since could not be told before.
    const visible = state.context.isVisible();
    if (visible !== this.#visible) state.send("PRESENCE_UPDATE", { visible });
    state.presence.resume();
    this.outbox.request(false);
  }

  resume(missing: Missing): void {
    this.needsState = false;
    this.state.replicator.resume(missing);
    this.state.becomeReady();
    void this.state.store();
  }

  /**
   * A state in place of changes, for a reader that was too slow. Edits that wait are better carried past the
   * changes themselves than past what differs: as long as the server tells them, they are asked for. So is which edits
   * the state has, where nothing is said of that: one whose answer was lost would be made twice.
   */
  #onState(missing: Missing): void {
    const { replica, epoch } = this.state.replicator;
    const isPending = replica && !replica.isSettled && missing.epoch === epoch;
    const isAsked = isPending && (!missing.acks || missing.version - replica.version <= CHANGES_MAX);
    if (isAsked) this.#subscribeAgain(false);
    else this.resume(missing);
  }

  #onError(ref: string | null, error: ServerError): void {
    const { state } = this;
    const flying = state.replicator.replica?.inFlight;
    const isAnswer = ref !== null && ref === this.subscribeRef;
    if (isAnswer) this.subscribeRef = null;
    if (flying && ref === `op-${flying.seq}`) this.onRefused(error);
    else if (isAnswer ? FINAL.includes(error.code) : error.code === "FORBIDDEN" && ref === null)
      state.forbid(error);
    else {
      if (isAnswer) this.#subscribeLater(error.retry_after_ms);
      if (!isAnswer || error.code === "TOO_LARGE") state.tell("ERROR", error);
    }
  }

  /** The submission in flight was not committed. True: what there is now may go at once. */
  onRefused(error: ServerError): boolean {
    const { replicator } = this.state;
    replicator.flight.isSent = false;
    const verdict = verdictOn(error, replicator);
    const isGone = typeof verdict === "object";
    if (typeof verdict === "number") this.outbox.block(verdict);
    else if (isGone) this.state.onRefused(error, verdict);
    else if (verdict === "subscribe" || verdict === "reload") this.#subscribeAgain(verdict === "reload");
    const isNow = isGone || verdict === "again";
    if (isNow) this.outbox.request(false);
    void this.state.store();
    return isNow;
  }

  // ------------------------------------------------------------------------------------------- sending

  async #flush(): Promise<void> {
    const { state } = this;
    const { replicator } = state;
    const link = state.context.link();
    const next = state.isLive && link && replicator.next();
    if (!next) {
      state.refresh(); // what waited may have come to nothing, and then it has arrived
      return;
    }
    replicator.flight.isSent = true;
    this.outbox.sent(replicator.flight.isAll);
    // What goes out is stored before: a client that ends now sends the same again, under the same `seq`.
    await state.store();
    const isGivenUp = replicator.replica?.inFlight !== next;
    if (isGivenUp || link !== state.context.link() || !state.isLive) return;
    // Refused as if the server had: whoever edited has asked by now whether it is saved.
    if (isTooLarge(next, link)) this.onRefused({ code: "TOO_LARGE", message: "It is too long." });
    else link.send("OP", this.payloadOf(next), `op-${next.seq}`);
  }

  payloadOf(next: Outgoing): Payload {
    const { type, id, context, replicator } = this.state;
    const { isForced } = replicator.flight;
    return {
      resource_type: type,
      resource_id: id,
      operations: next.patch as unknown as Json,
      version: next.baseVersion,
      client_id: context.clientId(),
      seq: next.seq,
      ...(replicator.epoch !== NO_EPOCH && { epoch: replicator.epoch }),
      ...(isForced ? { force: true } : this.#onConflict()),
    };
  }
}

/** The server would close the connection for it, or not even look whose it is. */
function isTooLarge({ patch }: Outgoing, link: Sender): boolean {
  // As UTF-8: a unit is at most three bytes.
  const text = JSON.stringify(patch).replace(/[^\0-\x7f]/g, "123");
  // False, where no limit is told.
  const isLong = text.length + ENVELOPE_BYTES > (link.limits.message_bytes_max as number);
  return isLong || text.split(/[[{]/).length > BRACKETS_MAX;
}
