/** A page for React to draw on, beside Node's own sockets: imported before React. */

// @ts-expect-error: it comes without types, and globals are all that is used
import { JSDOM } from "jsdom";

const { window } = new JSDOM();
Object.assign(globalThis, { window, document: window.document });
// What jsdom lacks of what every browser has.
window.HTMLElement.prototype.scrollTo ??= () => {};
window.HTMLDialogElement.prototype.showModal ??= () => {};
window.HTMLDialogElement.prototype.close ??= () => {};
