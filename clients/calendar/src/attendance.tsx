/** Who was asked to an event, and who comes. */

import type { Json } from "@collab/client";
import { useClient, useField } from "@collab/react";
import { type KeyboardEvent, type ReactNode, type RefObject, useId, useRef, useState } from "react";
import { fitLine } from "./characters.js";
import {
  ANSWERS,
  type Answer,
  type Attendee,
  answerOf,
  type EventDocument,
  type SharedEvent,
} from "./event.js";
import { Here, useFieldPresence } from "./presence.js";

export function Attendance({ document }: { document: SharedEvent | null }): ReactNode {
  const [value] = useField<Json, EventDocument>(document, "/attendees");
  const attendees = (Array.isArray(value) ? value : []) as unknown as Attendee[];
  const { here, handlers } = useFieldPresence(document, "attendees");
  const invitation = useRef<HTMLInputElement>(null);
  const [told, setTold] = useState("");
  const add = (attendee: Attendee) => {
    const added = attendee as unknown as Json;
    if (Array.isArray(value)) document?.edit({ op: "add", path: "/attendees/-", value: added });
    else document?.set("/attendees", [added]);
  };
  const invite = (user_id: string) => {
    add({ user_id, response_status: "NEEDS_ACTION" });
    setTold(`${user_id} is invited.`);
  };
  const remove = (index: number) => {
    document?.remove(`/attendees/${index}`);
    setTold(`${attendees[index]?.user_id} is removed.`);
    invitation.current?.focus(); // the button is gone
  };
  return (
    <div className="attendance place" {...handlers}>
      <Here people={here} />
      <Own document={document} attendees={attendees} add={add} />
      <ul aria-label="Attendees" className="attendees">
        {attendees.map(({ user_id, response_status }, index) => (
          <li key={user_id}>
            <span>
              <bdi>{user_id}</bdi>: <span>{answerOf(response_status)}</span>
            </span>
            <button type="button" aria-label={`Remove ${user_id}`} onClick={() => remove(index)}>
              Remove
            </button>
          </li>
        ))}
      </ul>
      <Invitation target={invitation} attendees={attendees} invite={invite} />
      <span role="status" className="unseen">
        {told}
      </span>
    </div>
  );
}

interface OwnProps {
  document: SharedEvent | null;
  attendees: readonly Attendee[];
  add(attendee: Attendee): void;
}

/** The user's own answer; whoever wasn't asked comes uninvited. */
function Own({ document, attendees, add }: OwnProps): ReactNode {
  const me = useClient().connection.snapshot.userId;
  const index = attendees.findIndex(({ user_id }) => user_id === me);
  const answer = (response_status: Answer) => {
    if (index >= 0) document?.set(`/attendees/${index}/response_status`, response_status);
    else if (me !== null) add({ user_id: me, response_status });
  };
  return (
    <fieldset disabled={me === null}>
      <legend>Are you coming?</legend>
      {Object.entries(ANSWERS).map(([status, text]) => (
        <button
          key={status}
          type="button"
          aria-pressed={attendees[index]?.response_status === status}
          onClick={() => answer(status as Answer)}
        >
          {text}
        </button>
      ))}
    </fieldset>
  );
}

interface InvitationProps {
  target: RefObject<HTMLInputElement | null>;
  attendees: readonly Attendee[];
  invite(userId: string): void;
}

function Invitation({ target, attendees, invite }: InvitationProps): ReactNode {
  const [name, setName] = useState("");
  const [problem, setProblem] = useState("");
  const problemId = useId();
  const write = (typed: string) => {
    setName(fitLine(typed));
    setProblem("");
  };
  const submit = () => {
    const invited = name.trim();
    const isThere = attendees.some(({ user_id }) => user_id === invited);
    setProblem(!invited ? "Type a name first." : isThere ? `${invited} is among the attendees already.` : "");
    if (!invited || isThere) return;
    invite(invited);
    setName("");
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && !event.nativeEvent.isComposing) submit();
  };
  return (
    <div className="invitation">
      <label>
        Invite
        <input
          ref={target}
          value={name}
          maxLength={60}
          autoComplete="off"
          enterKeyHint="done"
          aria-describedby={problemId}
          onChange={({ target }) => write(target.value)}
          onKeyDown={onKeyDown}
        />
      </label>
      <button type="button" onClick={submit}>
        Add
      </button>
      <span id={problemId} role="alert">
        {problem}
      </span>
    </div>
  );
}
