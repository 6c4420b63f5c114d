"""What a generator process finds out about its documents when nobody edits any more."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import trio

from loadtest.crowd import Crowd
from loadtest.engine import FAULTS, GAP, Engine
from loadtest.evidence import Acknowledged, Evidence, Findings, Reader, ReplicaState, UserOf, nobody
from loadtest.patience import until_none
from loadtest.protocols.port import Auditor, Protocol, States, UserReplica
from loadtest.users import Target, User

# Once nobody who is behind what was read has caught up for so long, nobody will.
SETTLE_S = 5.0
READS_AGAIN = 2  # of documents that changed while they were read


class Judgement:
    """Compares what users saw with what the server has. `local`: document -> the engine's. Those who are
    behind are waited for until none catches up for `drain_s`, SETTLE_S at most. `user_of`: see Evidence."""

    def __init__(
        self,
        target: Target,
        crowd: Crowd,
        auditor: Auditor,
        local: dict[int, int],
        drain_s: float,
        user_of: UserOf = nobody,
    ) -> None:
        self.target, self.crowd, self.auditor, self.local = target, crowd, auditor, local
        self.engine: Engine = crowd.engine
        self.protocol: Protocol = crowd.protocol
        self.users: Sequence[User] = crowd.users
        self._user_of = user_of
        self._settle_s = min(SETTLE_S, drain_s)
        self._by_document: dict[int, list[User]] = {}
        for user in self.users:
            self._by_document.setdefault(user.document, []).append(user)

    async def findings(self) -> Findings:
        """The findings about every document of this process."""
        states, sound, problems = await self._read_all()
        findings = self._user_findings()
        for problem in problems:
            findings.add("unverified", problem)
        for document, (version, state) in states.items():
            if document in sound and self._is_past(document, version):
                name = self.target.resource_id(document)
                findings.add("unverified", f"{name}: it changed after it was read for the last time")
                continue
            its_users = self._by_document.get(document, [])
            evidence = self._evidence(document, version, state, its_users)
            findings.merge(self.protocol.judge(evidence, its_users))
            await trio.lowlevel.checkpoint()
        return findings

    async def _read_all(self) -> tuple[States, set[int], list[str]]:
        """As the auditor's `final_states`, until users and server are at one version, or no reading is left.

        What was on its way when the users fell silent may come after a document was read: it's read again.
        What they had seen before must be there: the documents in which it is are `sound`.
        """
        states: States = {}
        sound: set[int] = set()
        problems: list[str] = []
        wanted = list(self.local)
        for _ in range(1 + READS_AGAIN):
            seen = self._seen()
            found, more = await self.auditor.final_states(wanted)
            states.update(found)
            problems += more
            sound -= found.keys()
            sound |= {each for each, (version, _) in found.items() if version >= seen.get(each, 0)}
            await until_none(partial(self._behind, states), self._settle_s)
            wanted = [each for each in sorted(sound) if self._is_past(each, states[each][0])]
            if not wanted:
                break
        return states, sound, problems

    def _seen(self) -> dict[int, int]:
        """The newest version of each document that a user has seen by now."""
        seen: dict[int, int] = {}
        for user in self.users:
            seen[user.document] = max(seen.get(user.document, 0), self.engine.version(user.slot))
        return seen

    def _is_past(self, document: int, version: int) -> bool:
        """Whether somebody has seen more by now than was read."""
        if self.auditor.head(document) > version:
            return True
        users = (user for user in self._by_document.get(document, ()) if user.state == "live")
        return any(self.protocol.ahead(self.engine, user, version) > 0 for user in users)

    def _behind(self, states: States) -> int:
        """By how many versions the connected users are behind what was read, together."""
        users = (user for user in self.users if user.state == "live" and user.document in states)
        return sum(
            max(0, -self.protocol.ahead(self.engine, user, states[user.document][0])) for user in users
        )

    def _user_findings(self) -> Findings:
        """What the engine and the replicas saw during the run."""
        findings = Findings()
        for kind, slot, expected, got in self.engine.faults:
            user = self.users[slot]
            if kind == GAP and not self.protocol.missing(self.engine, user):
                continue  # it came later: reordered
            findings.add(FAULTS[kind], self.protocol.fault_text(kind, user, expected, got), 0)
        findings.counts.update({FAULTS[kind]: count for kind, count in self.engine.fault_counts.items()})
        findings.merge(self.crowd.findings)
        for user in (one for one in self.users if one.replica is not None):
            self.protocol.catch_up(self.engine, user)
            assert user.replica is not None
            for violation in user.replica.violations:
                findings.add("undo_violations", f"{user.resource_id}: {user.user_id}, {violation}")
        return findings

    def _evidence(self, document: int, version: int, state: Any, users: list[User]) -> Evidence:
        engine = self.engine
        return Evidence(
            self.target.resource_id(document),
            state,
            version,
            self.auditor.changes.get(document, []),
            self.auditor.after.get(document, 0),
            [self._acknowledged(*entry) for entry in engine.ledger(self.local[document])],
            [Reader(user.user_id, engine.version(user.slot)) for user in users if user.state == "live"],
            [
                self._replica_state(user, user.replica)
                for user in users
                if user.replica is not None and user.replica.version
            ],
            user_of=self._user_of,
        )

    @staticmethod
    def _replica_state(user: User, replica: UserReplica) -> ReplicaState:
        digests = replica.digests
        return ReplicaState(
            user.user_id, replica.version, replica.document, replica.problem, digests, user.plain
        )

    def _acknowledged(self, version: int, slot: int, number: int) -> Acknowledged:
        user = self.users[slot]
        return Acknowledged(version, user.client_id, None if user.plain else number)
