"""Plays the conflicts of docs/reference/conflicts.md over real sockets, and writes that page.

`python -m tests.acceptance.transcript` writes it anew; a test holds that it is what is played.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import trio

from tests.cli.commands import ROOT
from tests.clients.desk import created, fresh, op, signed_in, state, subscribe
from tests.clients.gateway import Gateway, gateway
from tests.clients.wire import Refused, Wire
from tests.docs.markdown import anchor
from tests.operations import replace

PAGE = ROOT / "docs" / "reference" / "conflicts.md"
ADMIN = {"event:*": "admin"}
BASE = {
    "title": "Standup",
    "description": "Bring cake.",
    "location": "Room 1",
    "attendees": [
        {"user_id": "ann", "response_status": "ACCEPTED"},
        {"user_id": "bob", "response_status": "NEEDS_ACTION"},
    ],
}
RSVP = "/attendees/1/response_status"
AGAIN = {"user_id": "bob", "response_status": "ACCEPTED"}
Patch = Sequence[dict[str, Any]]
# Of `on_conflict`.
CHOICES = (None, "refuse")


class Story(NamedTuple):
    """Ann's edit, Bob's edit of the same version, made offline, and what resolves it.

    `shown` is the member that the outcome shows, None the whole document. A resolution is a patch on the
    newest document, for an edit that was merged; `force` stands for the same edit again. `refused` has those
    that an edit that was refused takes instead.
    """

    title: str
    text: str
    ann: dict[str, Any]
    bob: dict[str, Any]
    shown: str | None
    merged: dict[str, Patch]
    refused: dict[str, Patch | str] = {}  # noqa: RUF012 (never changed)

    def ways(self, on_conflict: str | None) -> dict[str, Patch | str]:
        """What resolves it, by what Bob wants."""
        return {**self.merged, **(self.refused if on_conflict else {})}


STORIES = (
    Story(
        "A title, and another title",
        "The later one wins, and says whose title it took the place of.",
        replace("/title", "Daily"),
        replace("/title", "Morning"),
        "title",
        {"mine": [], "theirs": [replace("/title", "Daily")], "both": [replace("/title", "Daily Morning")]},
        {"mine": "force", "theirs": []},
    ),
    Story(
        "An answer of who was removed",
        "Nothing is left of the answer. Who insists adds the attendee again.",
        {"op": "remove", "path": "/attendees/1"},
        replace(RSVP, "ACCEPTED"),
        "attendees",
        {
            "mine": [{"op": "add", "path": "/attendees/-", "value": AGAIN}],
            "theirs": [],
            "both": [{"op": "add", "path": "/attendees/-", "value": {"user_id": "bob"}}],
        },
    ),
    Story(
        "An edit of a deleted event",
        "The event stays deleted. Who insists creates it again.",
        replace("", None),
        replace("/title", "Morning"),
        None,
        {
            "mine": [{"op": "add", "path": "", "value": {**BASE, "title": "Morning"}}],
            "theirs": [],
            "both": [{"op": "add", "path": "", "value": {"title": "Morning"}}],
        },
    ),
    Story(
        "The removal of what was changed",
        "The attendee goes, and the answer that Bob hadn't seen with them.",
        replace(RSVP, "DECLINED"),
        {"op": "remove", "path": "/attendees/1"},
        "attendees",
        {
            "mine": [],
            "theirs": [
                {"op": "add", "path": "/attendees/1", "value": {**AGAIN, "response_status": "DECLINED"}}
            ],
            "both": [{"op": "add", "path": "/attendees/1", "value": BASE["attendees"][1]}],
        },
        {"mine": "force", "theirs": [], "both": [replace(RSVP, "NEEDS_ACTION")]},
    ),
    Story(
        "A description, and another description",
        "Texts merge by the spans that differ: there is no conflict.",
        replace("/description", "Bring cake and tea."),
        replace("/description", "Please bring cake!"),
        "description",
        {
            "mine": [replace("/description", "Please bring cake!")],
            "theirs": [replace("/description", "Bring cake and tea.")],
            "both": [],
        },
    ),
    Story(
        "Different fields",
        "There is no conflict.",
        replace("/location", "Room 2"),
        replace("/title", "Morning"),
        None,
        {"mine": [replace("/location", "Room 1")], "theirs": [replace("/title", "Standup")], "both": []},
    ),
    Story(
        "The same value",
        "Both wanted it so: there is no conflict.",
        replace("/title", "Daily"),
        replace("/title", "Daily"),
        "title",
        {"mine": [], "theirs": [], "both": []},
    ),
)


class Play:
    """One story on a resource of its own; `lines` is what went over the sockets."""

    def __init__(self, node: Gateway, story: Story) -> None:
        self.node = node
        self.story = story
        self.resource = fresh()
        self.lines: list[str] = []

    def note(self, who: str, arrow: str, kind: str, payload: dict[str, Any]) -> None:
        told = {name: payload[name] for name in SHOWN if name in payload}
        for conflict in told.get("conflicts", ()):
            conflict.pop("timestamp")
        self.lines.append(f"{who} {arrow} {kind} {json.dumps(told, ensure_ascii=False)}")

    async def send(self, who: str, client: Wire, version: int, *patch: Any, **further: Any) -> int:
        """Submit; the version that it became, or 0 where it is refused."""
        payload = op(client, self.resource, version, *patch, **further)
        self.note(who, "->", "OP", payload)
        try:
            answer = await client.ask("OP", payload)
        except Refused as refused:
            self.note(who, "<-", "ERROR", refused.payload)
            return 0
        self.note(who, "<-", "OP_ACK", answer)
        version = answer["version"]
        assert isinstance(version, int)
        return version

    async def begin(self, ann: Wire, on_conflict: str | None) -> None:
        """Bob leaves at version 1, Ann edits, Bob comes back with his edit."""
        await created(ann, self.resource, BASE)
        async with signed_in(self.node, "bob", grants=ADMIN) as bob:
            await subscribe(bob, self.resource)
        self.lines.clear()
        await self.send("ann", ann, 1, self.story.ann)
        async with signed_in(self.node, "bob", grants=ADMIN) as bob:
            await subscribe(bob, self.resource, version=1)
            further = {} if on_conflict is None else {"on_conflict": on_conflict}
            version = await self.send("bob", bob, 1, self.story.bob, **further)
            if version:
                broadcast = await ann.take("OP_BROADCAST", version=version, **named_only(self.resource))
                self.note("ann", "<-", "OP_BROADCAST", broadcast)

    async def resolve(self, patch: Patch | str) -> None:
        async with signed_in(self.node, "bob", grants=ADMIN) as bob:
            await subscribe(bob, self.resource)
            version, _ = await state(bob, self.resource)
            if patch == "force":
                assert await self.send("bob", bob, 1, self.story.bob, on_conflict="refuse", force=True)
            elif patch:
                assert await self.send("bob", bob, version, *patch)


SHOWN = (
    "operation", "operations", "version", "on_conflict", "force", "code", "conflicts", "server_state",
)  # fmt: skip


def named_only(resource: str) -> dict[str, str]:
    return {"resource_id": resource.partition(":")[2]}


async def outcome(play: Play, ann: Wire) -> str:
    _, document = await state(ann, play.resource)
    shown = play.story.shown
    return json.dumps(document if shown is None or document is None else document[shown], ensure_ascii=False)


class Told(NamedTuple):
    """A story as it was played, merged and with `refuse`."""

    story: Story
    merged: list[str]
    refused: list[str]
    ways: list[str]

    @property
    def conflicts(self) -> bool:
        """Whether `refuse` made a difference."""
        return self.merged != [line.replace(REFUSE, "") for line in self.refused]

    def row(self) -> str:
        """The line of the table at the top."""
        title = self.story.title
        kinds = re.findall(r'"kind": "(\w+)"', "".join(self.merged))
        told = ", ".join(f"`{kind}`" for kind in kinds) or "nothing"
        refused = "refused with `CONFLICT`" if self.conflicts else "committed the same way"
        return f"| [{title}](#{anchor(title)}) | {told} | {refused} |"

    def section(self) -> str:
        parts = [f"## {self.story.title}", self.story.text, fenced(self.merged)]
        if self.conflicts:
            parts += [f"With `{REFUSE.strip(', ')}`:", fenced(self.refused)]
        return "\n\n".join([*parts, "\n".join([*self.head(), *self.ways])])

    def head(self) -> list[str]:
        if self.story.refused:
            return [
                "| Bob wants | and sends, once merged | once refused | which gives |",
                "|---|---|---|---|",
            ]
        return ["| Bob wants | and sends | which gives |", "|---|---|---|"]


REFUSE = ', "on_conflict": "refuse"'


def fenced(lines: Sequence[str]) -> str:
    return "\n".join(["```", *lines, "```"])


async def told(node: Gateway, story: Story) -> Told:
    async with signed_in(node, grants=ADMIN) as ann:
        merged, refused = [await played(node, story, ann, choice) for choice in CHOICES]
        ways = [await way(node, story, ann, wanted) for wanted in story.merged]
    return Told(story, merged, refused, ways)


async def played(node: Gateway, story: Story, ann: Wire, on_conflict: str | None) -> list[str]:
    play = Play(node, story)
    await play.begin(ann, on_conflict)
    return [*play.lines, f"= {await outcome(play, ann)}"]


async def way(node: Gateway, story: Story, ann: Wire, wanted: str) -> str:
    """A line of a story's table: what Bob sends for what he wants, which leads to one outcome either way."""
    outcomes = set()
    for on_conflict in CHOICES:
        play = Play(node, story)
        await play.begin(ann, on_conflict)
        await play.resolve(story.ways(on_conflict)[wanted])
        outcomes.add(await outcome(play, ann))
    [gives] = outcomes
    choices = CHOICES if story.refused else CHOICES[:1]
    cells = [wanted, *[sent(story.ways(choice)[wanted]) for choice in choices], f"`{gives}`"]
    return f"| {' | '.join(cells)} |"


def sent(patch: Patch | str) -> str:
    if patch == "force":
        return "the same edit again, with `force`"
    return ", ".join(f"`{json.dumps(entry, ensure_ascii=False)}`" for entry in patch) or "nothing"


HEAD = """# Conflicts, played

What two people see whose edits meet. Ann is online; Bob was offline since version 1, and comes back with an
edit that he made on it. [The protocol](protocol.md#conflicts) has the fields,
[How edits merge](merging.md#conflicts) the rules.

| what meets | Bob is told | with `"on_conflict": "refuse"` his edit is |
|---|---|---|
"""
READING = """
Each story below is played with an ordinary edit, which is merged, and where something is in conflict once
more with one that is to be refused. Its table has the three ways in which Bob can settle it.

This page is what a gateway answered: a test plays it over real sockets, and compares. `->` is sent, `<-`
received, `=` the outcome. Left out are the names of the resource, of clients and of messages, and times.
"""


async def page(node: Gateway) -> str:
    stories = [await told(node, story) for story in STORIES]
    rows = "\n".join(story.row() for story in stories)
    return "\n\n".join([HEAD + rows, READING.strip(), *[story.section() for story in stories]]) + "\n"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder)) as node:
        PAGE.write_text(trio.run(page, node), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
