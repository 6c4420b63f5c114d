/** The client that a tree of components shares. */

import { type Client, type ClientOptions, createClient } from "@collab/client";
import { createContext, type ReactNode, useContext, useEffect, useRef, useState } from "react";

const Context = createContext<Client | null>(null);

export interface GatewayProviderProps {
  /** A client that the application made, and closes. */
  client?: Client;
  /** Or how to make one: made when the provider mounts, closed when it goes. Of later ones `getToken` is heeded. */
  options?: ClientOptions;
  children?: ReactNode;
}

/** Gives a client to the hooks below it. Its children are rendered once there is one. */
export function GatewayProvider({ client, options, children }: GatewayProviderProps): ReactNode {
  const [made, setMade] = useState<Client | null>(null);
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: another url or user is another client, another getToken isn't
  useEffect(() => {
    if (client || !options) return;
    const getToken = () => (latest.current as ClientOptions).getToken();
    const own = createClient({ ...options, getToken });
    setMade(own);
    return () => {
      setMade(null);
      void own.close();
    };
  }, [client, options?.url, options?.userId]);
  return (client ?? made) && <Context.Provider value={client ?? made}>{children}</Context.Provider>;
}

/** The nearest provider's client. */
export function useClient(): Client {
  const client = useContext(Context);
  if (!client) throw new Error("These hooks need a GatewayProvider.");
  return client;
}
