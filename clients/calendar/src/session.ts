/** The demo's sign-in: any name, no password, a token that lasts minutes. There only in demo mode. */

import { useCallback, useRef, useState } from "react";
import { ofThisBrowser, ofThisTab } from "./kept.js";

export interface User {
  readonly id: string;
  readonly name: string;
}

interface SignedIn {
  readonly token: string;
  readonly user_id: string;
  readonly name: string;
}

const NAME = "collab-demo-name"; // of this tab
const known = (name: string) => `collab-demo-user:${name}`; // of this browser, to open offline

/** A network that neither answers nor refuses is taken for none. */
const PATIENCE_MS = 20_000;

/** No answer came, or it was a proxy's, or of a gateway that can't sign anybody in now. */
class Unreachable extends Error {}

/** Signs in at the gateway that served this page. */
export async function signIn(name: string): Promise<SignedIn> {
  const { ok, status, text } = await ask(name).catch((cause) => {
    throw new Unreachable("The gateway can’t be reached.", { cause });
  });
  if (!ok) throw new (status < 500 ? Error : Unreachable)(reason(text) ?? `The gateway answered ${status}.`);
  const signedIn = JSON.parse(text) as SignedIn;
  ofThisBrowser.set(known(name), signedIn.user_id);
  return signedIn;
}

/** What is answered, to its end: a network may stop in the middle of it, too. */
async function ask(name: string): Promise<{ ok: boolean; status: number; text: string }> {
  const answer = await fetch("/demo/sign-in", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name }),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  return { ok: answer.ok, status: answer.status, text: await answer.text() };
}

/** What a problem says (RFC 9457); nothing where this is none. */
function reason(text: string): string | undefined {
  try {
    return (JSON.parse(text) as { detail?: string }).detail;
  } catch {
    return undefined;
  }
}

const NOT_KNOWN =
  "The gateway can’t be reached. Try again when there is a connection, or take a name that was signed in here before.";

/** Who goes by a name: as the gateway says, or said before, where it can't be reached. */
async function idOf(name: string): Promise<string> {
  try {
    return (await signIn(name)).user_id;
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    const id = ofThisBrowser.get(known(name));
    if (id === null) throw error.cause ? new Error(NOT_KNOWN, { cause: error }) : error;
    return id;
  }
}

/** Who was signed in before a reload: where that is known, nobody waits for the gateway to say it again. */
function before(): User | null {
  const name = ofThisTab.get(NAME);
  const id = name && ofThisBrowser.get(known(name));
  return name && id ? { id, name } : null;
}

/** This tab's user, who is remembered over a reload; and what signs somebody in, of whom the last counts, or out. */
export function useSession(): {
  user: User | null;
  remembered: string;
  enter(name: string): Promise<void>;
  leave(): void;
} {
  const [user, setUser] = useState(before);
  const attempts = useRef(0);
  const enter = useCallback(async (name: string) => {
    const attempt = ++attempts.current;
    const isNewest = () => attempt === attempts.current;
    ofThisTab.set(NAME, name);
    try {
      const id = await idOf(name);
      if (isNewest()) setUser({ id, name });
    } catch (error) {
      if (isNewest()) throw error;
    }
  }, []);
  const leave = useCallback(() => {
    ofThisTab.set(NAME, null);
    setUser(null);
  }, []);
  return { user, remembered: ofThisTab.get(NAME) ?? "", enter, leave };
}
