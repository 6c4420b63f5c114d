/** What went wrong and nobody asked for: told until it is read. */

import type { Problem } from "@collab/client";
import { useClient } from "@collab/react";
import { type ReactNode, useEffect, useState } from "react";
import { titleOf } from "./event.js";
import type { Events } from "./events.js";
import { eventAddress } from "./route.js";
import { turnToMain } from "./turned.js";
import { AN_EVENT, type Asked, type Undecided } from "./undecided.js";
import { inPlainWords } from "./words.js";

interface ProblemsProps {
  /** The event that the page shows, if it shows one. */
  openId: string | null;
  events: Events;
  undecided: Undecided;
}

export function Problems({ openId, events, undecided }: ProblemsProps): ReactNode {
  const client = useClient();
  const [problems, setProblems] = useState<readonly Problem[]>([]);
  const [asked, put] = useAside(undecided, openId);
  useEffect(() => {
    const isNews = (problem: Problem) => !isOnPage(problem, openId) && !isGuarded(problem);
    setProblems((known) => known.filter(isNews));
    return client.onProblem((problem) => {
      const news = { ...problem, message: told(problem) };
      if (isNews(news))
        setProblems((known) => [...known.filter((one) => one.message !== news.message), news]);
    });
  }, [client, openId]);
  const count = problems.length + asked.length;
  const dismiss = (go: () => void) => () => {
    go();
    if (count === 1) turnToMain(); // else the next key leads on from where the button was
  };
  return (
    count > 0 && (
      <div className="problems">
        {asked.map((one) => (
          <Told key={one.id} dismiss={dismiss(() => put(one.id))}>
            <Question {...one} events={events} />
          </Told>
        ))}
        {problems.map((problem) => (
          <Told
            key={problem.message}
            dismiss={dismiss(() => setProblems((known) => known.filter((one) => one !== problem)))}
          >
            {problem.message}
          </Told>
        ))}
      </div>
    )
  );
}

function Told({ children, dismiss }: { children: ReactNode; dismiss(): void }): ReactNode {
  return (
    <div role="alert" className="problem">
      {children}{" "}
      <button type="button" onClick={dismiss}>
        Dismiss
      </button>
    </div>
  );
}

/** What is undecided and not put aside; that is until the event was open, or the page ends. */
function useAside({ events }: Undecided, openId: string | null): [readonly Asked[], (id: string) => void] {
  const [aside, setAside] = useState<readonly string[]>([]);
  useEffect(() => setAside((known) => known.filter((id) => id !== openId)), [openId]);
  const put = (id: string) => setAside((known) => [...known, id]);
  return [events.filter(({ id }) => id !== openId && !aside.includes(id)), put];
}

const UNREAD = /^What was stored as .* can't be read\.$/;
const WHY_UNREAD: Partial<Record<Problem["code"], string>> = {
  STORE_UNAVAILABLE: "What this browser keeps can’t be read now. What isn’t sent may be lost when you leave.",
  STORE_CORRUPT: "A part of what this browser kept is damaged. What wasn’t sent of it may be lost.",
};

/** The same words for all records that can't be read for one reason. */
const told = ({ code, message }: Problem): string =>
  (UNREAD.test(message) && WHY_UNREAD[code]) || inPlainWords(message);

/** Of these the connection's state tells: the client gets another token, or is denied. */
const OF_TOKENS: readonly unknown[] = ["TOKEN_EXPIRED", "UNAUTHENTICATED"];

/** Does the page itself say so, or what is undecided? */
function isOnPage({ code, type, id, refusal }: Problem, openId: string | null): boolean {
  const isOfPage = type === "event" && id === openId;
  const isOfConnection = code === "DENIED" || OF_TOKENS.includes(refusal?.code);
  return isOfConnection || code === "CONFLICT" || (isOfPage && refusal?.code === "INVALID_MESSAGE");
}

/** Of what may be refused as well nobody needs to know: an event that was left as it was made is still there. */
function isGuarded({ operations = [] }: Problem): boolean {
  const last = operations.at(-1);
  const isDeletion = last?.op === "replace" && last.path === "" && last.value === null;
  return isDeletion && operations.some(({ op }) => op === "test");
}

function Question({ id, title, events }: Asked & { events: Events }): ReactNode {
  const event = events.items.find((one) => one.id === id);
  return (
    <>
      <a href={eventAddress(id)}>
        <bdi>{event ? titleOf(event, AN_EVENT) : title}</bdi>
      </a>{" "}
      <span>{`was changed ${event ? "" : "or deleted "}by somebody else too: open it to decide.`}</span>
    </>
  );
}
