// What the peers share: the arguments that a load test gives a server, the line that says it is ready, and faults.

import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    fault: { type: "string", default: "none" },
    "one-in": { type: "string", default: "100" },
    // Given to every server, and of no use to these.
    "admin-port": { type: "string" },
    data: { type: "string" },
  },
});

export const port = Number(values.port);
export const { fault } = values;
const oneIn = Number(values["one-in"]);
let chances = 0;

/** Whether the fault of this name strikes now: one time in so many. */
export const strikes = (name) => fault === name && ++chances % oneIn === 0;

export const ready = (address, path = "/") => console.log(`ready ws://127.0.0.1:${address.port}${path}`);

/** A `send` that loses, repeats or reorders what `isDelivery` says is a delivery. */
export function faulty(send, isDelivery) {
  let held;
  return (data) => {
    if (!isDelivery(data)) return send(data);
    if (strikes("lose")) return;
    if (held === undefined && strikes("reorder")) {
      held = data;
      return;
    }
    send(data);
    if (strikes("duplicate")) send(data);
    if (held !== undefined) {
      send(held);
      held = undefined;
    }
  };
}

// A server that is told to end does so at once.
process.on("SIGTERM", () => process.exit(0));
