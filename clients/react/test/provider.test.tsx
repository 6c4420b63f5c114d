/** The provider's own client, on a real gateway. */

import "./support/screen.js";
import type { Client } from "@collab/client";
import { GatewayProvider, useClient } from "@collab/react";
import { act, cleanup, render } from "@testing-library/react";
import { useEffect } from "react";
import { afterEach, expect, test } from "vitest";
import { People } from "../../client/test/support/people.js";
import { until } from "../../client/test/support/until.js";

const people = new People();
const made = new Set<Client>();

function Below() {
  const client = useClient();
  useEffect(() => void made.add(client), [client]);
  return null;
}

afterEach(cleanup);

test("the token that is presented is the one that the application has now", async () => {
  const { url } = people.gateway;
  const app = (token: string) => (
    <GatewayProvider options={{ url, userId: "ann", getToken: () => token }}>
      <Below />
    </GatewayProvider>
  );
  const { rerender } = render(app("no token yet"));
  const [client] = [...made] as [Client];
  await act(() => until(client.connection, ({ state }) => state === "denied"));
  rerender(app(people.gateway.token("ann")));
  act(() => client.connect());
  await act(() => until(client.connection, ({ state }) => state === "online"));
  expect([...made]).toEqual([client]);
});
