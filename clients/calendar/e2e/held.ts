/** A way to the gateway on which edits can be held back. */

import type { BrowserContext } from "playwright-core";

/** Where `areHeld`, edits of whoever comes by `prepare` don't get through. */
export class Edits {
  areHeld = false;

  readonly prepare = (context: BrowserContext): Promise<void> =>
    context.routeWebSocket("**/realtime*", (socket) => {
      const server = socket.connectToServer();
      socket.onMessage((message) => {
        if (!this.areHeld || JSON.parse(String(message)).type !== "OP") server.send(message);
      });
    });
}
