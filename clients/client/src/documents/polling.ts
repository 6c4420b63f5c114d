/** Over HTTP, where there is no socket: of each document what is missing is fetched, and what waits is sent. */

import type { Json } from "../api.js";
import { RequestError } from "../errors.js";
import { resourcePath } from "../http.js";
import { GapError, PatchError } from "../kernel/index.js";
import type { Answer, Missing } from "../wire.js";
import type { Document } from "./document.js";
import type { ServerError } from "./refusals.js";
import type { DocumentState } from "./state.js";
import type { DocumentWire } from "./wire.js";

type Fetched = Missing & { document: Json };

interface Pollable {
  poll(): Promise<void>;
}

/**
 * One round, as long as it `isOn`, of what waits to be sent, and where it `isWhole` of all. Rejects where there was no
 * answer to anything but that it is refused for now.
 */
export async function pollAll(
  documents: Iterable<Document<Json>>,
  list: () => Promise<Pollable[]>,
  isOn: () => boolean,
  isWhole: boolean,
): Promise<void> {
  // Calendars that can't be listed are one that isn't answered.
  const none = (cause: unknown) => [{ poll: () => Promise.reject(cause) }];
  const calendars: Pollable[] = isWhole ? await list().catch(none) : [];
  const due = [...documents].filter(({ state }) => isWhole || state.replicator.flight.pending);
  const polls = [
    ...due.map(
      ({ state, wire }) =>
        () =>
          poll(state, wire, isOn),
    ),
    ...calendars.map((calendar) => () => calendar.poll()),
  ];
  const failures: unknown[] = [];
  for (const ask of polls) {
    if (isOn()) await ask().catch((error) => failures.push(error));
  }
  if (failures.length && failures.length === polls.length) throw failures[0];
}

/** Rejects where it can't be read, or not for now; a refusal is told to the document. */
async function poll(state: DocumentState, wire: DocumentWire, isOn: () => boolean): Promise<void> {
  try {
    await fetchMissing(state, wire, isOn);
    await sendPending(state, wire, isOn);
  } catch (error) {
    if (!(error instanceof RequestError) || error.isPassing) throw error;
    const isMisnamed = error.status === 400;
    const code = isMisnamed ? "INVALID_MESSAGE" : error.code; // as by socket
    const refusal = { ...error.problem, code, message: error.message };
    if (isMisnamed || code === "FORBIDDEN") state.forbid(refusal);
    else state.tell("ERROR", refusal);
  } finally {
    state.remember();
    state.refresh();
  }
}

async function fetchMissing(state: DocumentState, wire: DocumentWire, isOn: () => boolean): Promise<void> {
  const { version, epoch } = wire.subscription();
  const seen = version === undefined ? {} : { since: version as number, epoch: epoch as number };
  const http = await state.context.http();
  const answer = await http.document(resourcePath(state.type, state.id), seen);
  if (!isOn()) return;
  if (!answer) return state.becomeReady(); // it may be seen, again perhaps
  const { document, ...missing } = answer as unknown as Fetched;
  const { needsState } = wire;
  try {
    wire.resume(missing.changes ? missing : { ...missing, state: document });
  } catch (error) {
    if (!(error instanceof GapError || error instanceof PatchError) || needsState) throw error;
    wire.needsState = true;
    await fetchMissing(state, wire, isOn);
  }
}

async function sendPending(state: DocumentState, wire: DocumentWire, isOn: () => boolean): Promise<void> {
  const { replicator, context } = state;
  const http = await context.http();
  if (!isOn()) return;
  const path = `${resourcePath(state.type, state.id)}/operations`;
  replicator.flight.isSent = false;
  for (let next = replicator.next(); next; next = replicator.next()) {
    await state.store();
    if (!isOn()) return;
    try {
      const answer = await http.request("POST", path, "version", {}, wire.payloadOf(next));
      replicator.acknowledge(next.seq, answer as unknown as Answer);
      void state.store();
    } catch (error) {
      if (error instanceof GapError) return fetchMissing(state, wire, isOn); // others were faster: the rest goes next time
      if (!(error instanceof RequestError)) throw error;
      // For now, and it goes again with the next poll; but a bug that it meets is met again by the same edit.
      if (error.isPassing && error.code !== "INTERNAL") return;
      if (replicator.replica?.inFlight !== next) return; // it came over a socket meanwhile, and had its answer
      const refusal = { ...error.problem, code: error.code, message: error.message } as ServerError;
      if (!wire.onRefused(refusal) || isBehind(state, refusal)) return;
    }
  }
}

/** What others wrote has to be fetched first, with the next poll. */
const isBehind = ({ confirmed }: DocumentState, { version = 0 }: ServerError): boolean =>
  version > confirmed.version;
