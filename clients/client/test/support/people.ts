/** Clients of one gateway that a test doesn't have to close. */

import { type Client, type ClientOptions, createClient } from "@collab/client";
import { afterAll, afterEach, beforeAll } from "vitest";
import { type Claims, Gateway } from "./gateway.js";

type Settings = Record<string, string | number | boolean>;

export interface Event {
  title?: string;
  description?: string;
  location?: string;
  start_time?: string;
  calendar_id?: string;
  tags?: string[];
  attendees?: { user_id: string; email?: string; response_status?: string }[];
}

/** A gateway for a file of tests, and clients of it that are closed after each. */
export class People {
  gateway!: Gateway;
  #clients: Client[] = [];
  #count = 0;

  constructor(settings: Settings = {}) {
    beforeAll(async () => {
      this.gateway = await Gateway.start(settings);
    });
    afterAll(() => this.gateway.close());
    afterEach(async () => {
      await Promise.all(this.#clients.splice(0).map((client) => client.close()));
    });
  }

  newId(): string {
    return `event-${++this.#count}`;
  }

  client(user: string, options: Partial<ClientOptions> = {}, claims: Claims = {}): Client {
    const getToken = () => this.gateway.token(user, claims);
    const client = createClient({ url: this.gateway.url, getToken, userId: user, ...options });
    this.#clients.push(client);
    return client;
  }

  /** An event that is there and saved, in a client of its own. */
  async event(user: string, value: Event = { title: "Sync" }, options: Partial<ClientOptions> = {}) {
    const client = this.client(user, options);
    const document = client.open<Event>("event", this.newId());
    await document.ready();
    document.create(value);
    await document.saved();
    return { client, document };
  }

  /** The same event in another user's client. */
  async join(user: string, id: string, options: Partial<ClientOptions> = {}, claims: Claims = {}) {
    const client = this.client(user, options, claims);
    const document = client.open<Event>("event", id);
    await document.ready();
    return { client, document };
  }
}
