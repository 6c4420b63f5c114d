/** The demo's sign-in: any name, no password, a token that lasts minutes. There only in demo mode. */

import { useCallback, useState } from "react";

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

/** Signs in at the gateway that served this page. */
export async function signIn(name: string): Promise<SignedIn> {
  const answer = await fetch("/demo/sign-in", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name }),
  });
  if (!answer.ok) throw new Error(await reason(answer));
  const signedIn = (await answer.json()) as SignedIn;
  localStorage.setItem(known(name), signedIn.user_id);
  return signedIn;
}

async function reason(answer: Response): Promise<string> {
  const problem = (await answer.json().catch(() => null)) as { detail?: string } | null;
  return problem?.detail ?? `The gateway answered ${answer.status}.`;
}

/** This tab's user, who is remembered over a reload; and what signs somebody in or out. */
export function useSession(): {
  user: User | null;
  remembered: string;
  enter(name: string): Promise<void>;
  leave(): void;
} {
  const [user, setUser] = useState<User | null>(null);
  const enter = useCallback(async (name: string) => {
    sessionStorage.setItem(NAME, name);
    const id = await signIn(name).then(
      (signedIn) => signedIn.user_id,
      (error: Error) => {
        const before = error instanceof TypeError ? localStorage.getItem(known(name)) : null;
        if (before === null) throw error; // not the network's fault, or never here before
        return before;
      },
    );
    setUser({ id, name });
  }, []);
  const leave = useCallback(() => {
    sessionStorage.removeItem(NAME);
    setUser(null);
  }, []);
  return { user, remembered: sessionStorage.getItem(NAME) ?? "", enter, leave };
}
