/** How members of the two known types merge; an operator's own schemas are given as `options.schemas`. */

import type { Strategies } from "./api.js";

export const SCHEMAS: Record<string, Strategies> = {
  event: { "/description": "text", "/tags": "set", "/attendees": { set: "user_id" } },
  calendar: { "/description": "text" },
};
