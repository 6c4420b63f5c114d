/** What went wrong and nobody asked for: told until it is read. */

import type { Problem } from "@collab/client";
import { useClient } from "@collab/react";
import { type ReactNode, useEffect, useState } from "react";
import { titleOf } from "./event.js";
import type { Events } from "./events.js";
import { eventAddress } from "./route.js";
import { turnToMain } from "./turned.js";
import { inPlainWords } from "./words.js";

interface ProblemsProps {
  /** The event that the page shows, if it shows one. */
  openId: string | null;
  events: Events;
}

export function Problems({ openId, events }: ProblemsProps): ReactNode {
  const client = useClient();
  const [problems, setProblems] = useState<readonly Problem[]>([]);
  const titles = useTitles(events);
  useEffect(() => {
    const isNews = (problem: Problem) => !isOnPage(problem, openId) && !isGuarded(problem);
    setProblems((known) => known.filter(isNews));
    return client.onProblem((problem) => {
      const news = { ...problem, message: told(problem) };
      if (isNews(news))
        setProblems((known) => [...known.filter((one) => one.message !== news.message), news]);
    });
  }, [client, openId]);
  const dismiss = (problem: Problem) => {
    setProblems((known) => known.filter((one) => one !== problem));
    if (problems.length === 1) turnToMain(); // else the next key leads on from where the button was
  };
  return (
    problems.length > 0 && (
      <div className="problems">
        {problems.map((problem) => (
          <div role="alert" className="problem" key={problem.message}>
            {problem.code === "CONFLICT" ? (
              <Undecided {...problem} events={events} titles={titles} />
            ) : (
              problem.message
            )}{" "}
            <button type="button" onClick={() => dismiss(problem)}>
              Dismiss
            </button>
          </div>
        ))}
      </div>
    )
  );
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

/** Does the page itself say so? */
function isOnPage({ code, type, id, refusal }: Problem, openId: string | null): boolean {
  const isOfPage = type === "event" && id === openId;
  const isOfConnection = code === "DENIED" || OF_TOKENS.includes(refusal?.code);
  return isOfConnection || (isOfPage && (code === "CONFLICT" || refusal?.code === "INVALID_MESSAGE"));
}

/** Of what may be refused as well nobody needs to know: an event that was left as it was made is still there. */
function isGuarded({ operations = [] }: Problem): boolean {
  const last = operations.at(-1);
  const isDeletion = last?.op === "replace" && last.path === "" && last.value === null;
  return isDeletion && operations.some(({ op }) => op === "test");
}

const AN_EVENT = "An event";

type Titles = ReadonlyMap<string, string>;

/** What events are called, by id; those that are no more as they were called last. */
function useTitles({ items }: Events): Titles {
  const [titles] = useState(() => new Map<string, string>());
  useEffect(() => {
    for (const item of items) titles.set(item.id, titleOf(item, AN_EVENT));
  }, [titles, items]);
  return titles;
}

interface UndecidedProps {
  id?: string;
  events: Events;
  titles: Titles;
}

function Undecided({ id = "", events, titles }: UndecidedProps): ReactNode {
  const event = events.items.find((one) => one.id === id);
  return (
    <>
      <a href={eventAddress(id)}>
        <bdi>{titleOf(event ?? { title: titles.get(id) ?? null }, AN_EVENT)}</bdi>
      </a>{" "}
      <span>{`was changed ${event ? "" : "or deleted "}by somebody else too: open it to decide.`}</span>
    </>
  );
}
