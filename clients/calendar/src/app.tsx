/** The calendar: sign in, then a month, or an event. */

import { type Client, type ClientOptions, type Connection, memoryStore } from "@collab/client";
import { ConnectionBadge, GatewayProvider, useClient, useSyncStatus } from "@collab/react";
import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import { fitLine } from "./characters.js";
import { EventPage } from "./event-page.js";
import { useEvents } from "./events.js";
import { HEADING } from "./heading.js";
import { isStoreShared, type Kept, ofThisBrowser, ofThisPage, ofThisTab } from "./kept.js";
import { useLeaving } from "./leaving.js";
import { MonthPage, TAB_STOP, type Visited } from "./month-page.js";
import { Nothing } from "./nothing.js";
import { Problems } from "./problems.js";
import { monthBefore, THIS_MONTH, useRoute } from "./route.js";
import { signIn, type User, useSession } from "./session.js";
import { useTurned } from "./turned.js";
import { useUndecided } from "./undecided.js";

const SOCKET = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/realtime`;

const IS_STORE_SHARED = isStoreShared(); // if not, each tab has its own

// Each key of a fast typist goes at once; a key that is held in the description stays within the default rate of 100 a
// minute, for typing costs a tenth. A title or location is set whole: there each patch costs one.
const TYPING_INTERVAL_MS = 65;

export function App(): ReactNode {
  const { user, remembered, enter, leave } = useSession();
  const options = user && clientOptions(user);
  if (!user || !options) return <SignIn remembered={remembered} enter={enter} />;
  const signOut = () => {
    noteInvisible(user.id, false);
    leave();
  };
  return (
    <GatewayProvider key={user.id} options={options}>
      <Page user={user} leave={signOut} />
    </GatewayProvider>
  );
}

const OF_THE_CLIENT: Kept = IS_STORE_SHARED ? ofThisBrowser : ofThisTab; // as which all tabs of a user are seen

const invisibleKey = (userId: string) => `collab-demo-invisible:${userId}`;
const isInvisible = (userId: string) => OF_THE_CLIENT.get(invisibleKey(userId)) !== null;
const noteInvisible = (userId: string, isOn: boolean) =>
  OF_THE_CLIENT.set(invisibleKey(userId), isOn ? "" : null);

/** Who is invisible stays so over a reload, and isn't shown before; also where another tab signed out. */
function useInvisible(userId: string): void {
  const { isVisible } = useSyncStatus().connection;
  useEffect(() => {
    noteInvisible(userId, !isVisible);
    if (isVisible) return;
    const noteAgain = () => noteInvisible(userId, true);
    addEventListener("storage", noteAgain);
    return () => removeEventListener("storage", noteAgain);
  }, [userId, isVisible]);
}

function clientOptions({ id, name }: User): ClientOptions {
  const getToken = async () => (await signIn(name)).token;
  const own = IS_STORE_SHARED ? {} : { store: memoryStore() };
  return {
    url: SOCKET,
    userId: id,
    getToken,
    visible: !isInvisible(id),
    typingIntervalMs: TYPING_INTERVAL_MS,
    ...own,
  };
}

function SignIn({
  remembered,
  enter,
}: {
  remembered: string;
  enter(name: string): Promise<void>;
}): ReactNode {
  const [name, setName] = useState(remembered);
  const [problem, setProblem] = useState("");
  const [isBack] = useState(remembered !== "");
  useTurned(isBack && !problem ? null : "sign-in"); // nobody sees it who is signed in again after a reload
  const [isEntering, setEntering] = useState(false);
  const tryToEnter = (as: string) => {
    setProblem("");
    setEntering(true);
    enter(as).catch((error: Error) => {
      setProblem(error.message);
      setEntering(false);
    });
  };
  const write = (typed: string) => {
    setName(fitLine(typed));
    setProblem("");
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, after a reload
  useEffect(() => {
    if (remembered) tryToEnter(remembered);
  }, []);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (name.trim()) tryToEnter(name.trim());
    else setProblem("Type a name first.");
  };
  return (
    <main className="sign-in" tabIndex={-1} aria-labelledby={HEADING}>
      <h1 id={HEADING}>Calendar</h1>
      <form onSubmit={submit}>
        <label>
          Your name
          <input
            value={name}
            maxLength={60}
            autoComplete="nickname"
            // biome-ignore lint/a11y/noAutofocus: it is all that there is to do, unless one was signed in
            autoFocus={!remembered}
            onChange={({ target }) => write(target.value)}
          />
        </label>
        <button type="submit" className="primary">
          Sign in
        </button>
        <span role="status" className="note">
          {isEntering && "Signing in…"}
        </span>
        {problem && <p role="alert">{problem}</p>}
      </form>
      <p className="note">
        This is the gateway’s demo: any name will do, there is no password, and everybody who can reach this
        page sees the same calendar. Open it in two tabs, under two names, and edit one event together.
      </p>
    </main>
  );
}

function Page({ user, leave }: { user: User; leave(): void }): ReactNode {
  const route = useRoute();
  useInvisible(user.id);
  // On each page, so that the way back to a month shows it at once.
  const kept = IS_STORE_SHARED ? ofThisBrowser : ofThisPage;
  const events = useEvents(user.id, kept);
  const undecided = useUndecided(user.id, events, kept);
  const mayLeave = useLeaving(IS_STORE_SHARED);
  const [visited, visit] = useState<Visited | null>(null);
  const isBack = route.page === "month" && route.month === visited?.month;
  // An event's page says itself what it shows.
  useTurned(route.page === "event" ? null : route.page, isBack ? TAB_STOP : undefined);
  return (
    <>
      <header className="bar">
        <a className="home" href={route.page === "month" ? THIS_MONTH : monthBefore()}>
          Calendar
        </a>
        <Controls />
        <span className="me">
          <bdi>{user.name}</bdi>{" "}
          <button type="button" className="link" onClick={() => mayLeave() && leave()}>
            Sign out
          </button>
        </span>
      </header>
      <main tabIndex={-1} aria-labelledby={HEADING}>
        {route.page === "event" && (
          <EventPage id={route.id} events={events} undecided={undecided} key={route.id} />
        )}
        {route.page === "month" && (
          <MonthPage month={route.month} events={events} visited={visited} visit={visit} />
        )}
        {route.page === "nowhere" && <Nothing text="There is nothing at this address." />}
      </main>
      <Problems openId={route.page === "event" ? route.id : null} events={events} undecided={undecided} />
    </>
  );
}

function Controls(): ReactNode {
  const client = useClient();
  const { connection } = useSyncStatus();
  return (
    <div className="controls">
      <Switch
        label="Work offline"
        isOn={connection.isPaused}
        set={(isOn) => (isOn ? client.disconnect() : client.connect())}
      />
      <Switch label="Invisible" isOn={!connection.isVisible} set={(isOn) => client.setVisible(!isOn)} />
      <ConnectionBadge />
      <Denied client={client} connection={connection} />
    </div>
  );
}

function Switch({ label, isOn, set }: { label: string; isOn: boolean; set(isOn: boolean): void }): ReactNode {
  return (
    <button type="button" role="switch" className="switch" aria-checked={isOn} onClick={() => set(!isOn)}>
      {label}
    </button>
  );
}

const DENIED: Partial<Record<NonNullable<Connection["reason"]>, string>> = {
  token: "The gateway doesn’t take this sign-in.",
  origin: "The gateway doesn’t allow this address.",
  replaced: "This calendar was opened elsewhere under the same name of the tab.",
};

function Denied({ client, connection }: { client: Client; connection: Connection }): ReactNode {
  if (connection.state !== "denied" || connection.isPaused) return null;
  return (
    <span role="alert" className="denied">
      {(connection.reason && DENIED[connection.reason]) ?? "Not connected."}{" "}
      <button type="button" onClick={() => client.connect()}>
        Try again
      </button>
    </span>
  );
}
