"""What the index of a cluster lacks, from the archive: resources that are due, each taken by one worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson
import trio
from psycopg import Connection

from gateway.log.postgres.archive import PostgresArchive
from gateway.log.search.indexer import BYTES_A_STEP, LoggedChange, LoggedDocument, Taken, applied
from gateway.ports.search import Erasure
from gateway.runtime.timeslice import Slices

# Resources that are taken on at once, and changes of each at least.
RESOURCES_A_STEP = 200
CHANGES_A_RESOURCE_MIN = 10
# Changes that are fetched at once: of those that a step has no room for, at most so many are measured.
ROWS_AT_ONCE = 50
# A worker that took something on and hasn't indexed it after so long has crashed, or stalls.
CLAIM_S = 60
GENERATION_LOCK = 0x73656172  # an arbitrary number: who makes, fills or switches generations holds it

_DUE = "(d.epoch, d.version) <> (d.done_epoch, d.done_version)"
# Who claims it may put some of it into the index, and fail then: a later epoch erases that.
_CLAIM = f"""
WITH claimed AS (
    UPDATE gateway.search_due SET claimed_until = clock_timestamp() + interval '{CLAIM_S} s',
        done_epoch = CASE done_epoch WHEN 0 THEN epoch ELSE done_epoch END
    WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM gateway.search_due AS d
        WHERE generation = %(generation)s AND {_DUE}
          AND (claimed_until IS NULL OR claimed_until < clock_timestamp() OR name = ANY(%(held)s))
        ORDER BY since LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )) RETURNING name, epoch, version, done_epoch, done_version, since
)
SELECT name, epoch, version, done_epoch, done_version FROM claimed ORDER BY since
"""
# In the present epoch's name, whatever the one that it was made in: an index has one history of a resource.
# The first change of each comes first, then the second, so that no large resource holds up the others. What
# comes after so many bytes has no body; by a cursor it is measured only as far as it is fetched.
_CHANGES = """
SELECT name, version, user_id, timestamp, CASE WHEN coalesce(before, 0) < %(bytes)s THEN body::text END
FROM (
    SELECT n.name, n.place, c.*, sum(octet_length(c.body::text)) OVER before AS before
    FROM json_to_recordset(%(given)s::json) AS n(name text, after bigint, place integer)
    JOIN gateway.resource AS r ON r.name = n.name
    CROSS JOIN LATERAL (
        SELECT *, row_number() OVER (ORDER BY version) AS turn FROM (
            SELECT version, user_id, timestamp, body FROM gateway.change
            WHERE resource = r.id AND version > n.after AND NOT superseded ORDER BY version LIMIT %(limit)s
        ) AS first
    ) AS c
    WINDOW before AS (ORDER BY c.turn, n.place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) AS waiting ORDER BY turn, place
"""
# Rows are held in the order of names, as the archive does: neither waits for the other then.
_HELD = """
WITH held AS MATERIALIZED (
    SELECT name FROM gateway.search_due WHERE generation = %(generation)s AND name = ANY(%(names)s::text[])
    ORDER BY name FOR UPDATE
)
"""
# What is due of a resource of which all was taken on came since.
_DONE = f"""
{_HELD}
UPDATE gateway.search_due AS d SET done_epoch = n.epoch, done_version = n.version, claimed_until = NULL,
    since = CASE WHEN n.whole THEN d.claimed_until - interval '{CLAIM_S} s' ELSE d.since END
FROM held JOIN json_to_recordset(%(given)s::json)
    AS n(name text, epoch bigint, version bigint, whole boolean) USING (name)
WHERE d.generation = %(generation)s AND d.name = held.name AND d.claimed_until IS NOT NULL
RETURNING d.name, d.epoch, n.epoch
"""
_RELEASE = f"""
{_HELD}
UPDATE gateway.search_due AS d SET claimed_until = NULL FROM held
WHERE d.generation = %(generation)s AND d.name = held.name
"""
_OLDEST = f"""
SELECT extract(epoch FROM clock_timestamp() - min(since)) FROM gateway.search_due AS d
WHERE generation = %s AND {_DUE}
"""
_FILL = b"""
INSERT INTO gateway.search_due (generation, name, epoch, version)
SELECT %(number)s, s.name, s.epoch,
    coalesce((SELECT max(version) FROM gateway.change WHERE resource = s.id AND NOT superseded), 0)
FROM gateway.resource AS s WHERE NOT EXISTS (
    SELECT FROM gateway.search_due AS d WHERE d.generation = %(number)s AND d.name = s.name
)
"""
# Waits for all who note what is due, and who may not know of a generation; whoever comes later does.
_HOLD_DUE = b"LOCK TABLE gateway.search_due IN SHARE ROW EXCLUSIVE MODE"


_BEGIN_ANEW = b"""
WITH gone AS (DELETE FROM gateway.search_generation RETURNING number)
INSERT INTO gateway.search_generation
SELECT max(number) + 1, %s, true FROM gone HAVING count(*) > 0
"""


class Generation(NamedTuple):
    """An index that is kept up to date; the one that serves answers."""

    number: int
    format: int
    serving: bool


class Claimed(NamedTuple):
    """A resource that is due: where the archive is, and where the index."""

    name: str
    epoch: int
    version: int
    done_epoch: int
    done_version: int

    @property
    def after(self) -> int:
        """The version that the index has of the present epoch."""
        return self.done_version if self.done_epoch == self.epoch else 0


class SearchQueue:
    """The port `IndexSource` for one generation, over the connections of the archive."""

    def __init__(self, archive: PostgresArchive, generation: int) -> None:
        self._archive = archive
        self._generation = generation
        self._held: set[str] = set()
        self._served: dict[str, int] = {}  # what is due was taken in part, in this step last
        self._steps = 0

    async def take(self, count: int) -> Taken:
        """See the port."""
        due, changes, left = await self._archive.run(partial(self._take, count), "none")
        claimed = [one for one in due if one.name not in left]
        self._held = {one.name for one in claimed}
        # What has to go goes at once, also of what there is no room for.
        erasures = [Erasure(one.name, one.epoch) for one in due if 0 < one.done_epoch < one.epoch]
        fresh = [one.name for one in claimed if one.after == 0]
        return Taken(erasures, changes, claimed, bool(claimed), fresh)

    def _take(
        self, count: int, connection: Connection[Any]
    ) -> tuple[list[Claimed], list[LoggedChange], set[str]]:
        """Claim resources; the names of those that are given back: the step has no room for their changes."""
        with connection.transaction():
            # What this one holds still it failed to index.
            held = sorted(self._held)
            asked = {"generation": self._generation, "limit": RESOURCES_A_STEP, "held": held}
            rows = connection.execute(_CLAIM.encode(), asked)
            due = sorted((Claimed(*row) for row in rows), key=lambda one: self._served.get(one.name, 0))
            changes, are_all = _next_changes(connection, due, count) if due else ([], True)
            newest = {change.name: change.version for change in changes}
            left = set() if are_all else {one.name for one in due if one.version > one.after} - newest.keys()
            if left:
                self._give_back(sorted(left), connection)
        self._note_served(due, newest)
        return due, changes, left

    def _note_served(self, due: Sequence[Claimed], newest: Mapping[str, int]) -> None:
        """In which step what is still due was served last: what waits for longer comes before it."""
        self._steps += 1
        served = {one.name: self._served.get(one.name, 0) for one in due}
        served |= dict.fromkeys(newest, self._steps)
        self._served = {one.name: served[one.name] for one in due if newest.get(one.name) != one.version}

    def _give_back(self, names: Sequence[str], connection: Connection[Any]) -> None:
        """Let others take these."""
        connection.execute(_RELEASE.encode(), {"generation": self._generation, "names": names})

    async def document(self, name: str) -> LoggedDocument | None:
        """See the port."""
        opening = await self._archive.open(name)
        if opening is None:
            return None
        document = orjson.loads(opening.snapshot.document)
        slices = Slices(trio.current_time)
        for record in opening.records:
            document = applied(document, record.body)
            await slices.pause()
        version = opening.version
        newest = opening.records[-1:] or await self._archive.read(name, version - 1, 1) if version else []
        if not newest:
            return None
        return LoggedDocument(opening.epoch, version, document, newest[0].user_id, newest[0].timestamp)

    async def done(self, taken: Taken, made: Mapping[str, LoggedDocument]) -> Sequence[Erasure]:
        """See the port."""
        if not taken.token:
            return ()
        # Where the archive gave none of a resource's changes there is none to come: they were erased.
        reached = {one.name: one.version for one in taken.token}
        reached.update((change.name, change.version) for change in taken.changes)
        given = [
            {
                "name": one.name,
                "epoch": one.epoch,
                "version": reached[one.name],
                "whole": reached[one.name] >= one.version,
            }
            for one in taken.token
        ]

        def done(connection: Connection[Any]) -> list[Any]:
            names = [one.name for one in taken.token]
            told = orjson.dumps(given).decode()
            values = {"generation": self._generation, "names": names, "given": told}
            return connection.execute(_DONE.encode(), values).fetchall()

        rows = await self._archive.run(done, "unknown")
        self._held.clear()
        return [Erasure(name, now) for name, now, then in rows if now > then]

    async def release(self) -> None:
        """See the port."""
        held, self._held = sorted(self._held), set()
        if held:
            await self._archive.run(partial(self._give_back, held), "none")

    async def lag_s(self) -> float:
        """The age of what is due for longest; 0: nothing is."""
        rows = await self._archive.run(
            lambda connection: connection.execute(_OLDEST.encode(), (self._generation,)).fetchall(), "none"
        )
        return max(0.0, float(rows[0][0] or 0))


def _next_changes(
    connection: Connection[Any], claimed: Sequence[Claimed], count: int
) -> tuple[list[LoggedChange], bool]:
    """About `count` changes of these, in BYTES_A_STEP; whether those left no other out."""
    epochs = {one.name: one.epoch for one in claimed}
    given = [{"name": one.name, "after": one.after, "place": place} for place, one in enumerate(claimed)]
    most = max(CHANGES_A_RESOURCE_MIN, count // max(1, len(claimed)))
    values = {"given": orjson.dumps(given).decode(), "limit": most, "bytes": BYTES_A_STEP}
    changes: list[LoggedChange] = []
    with connection.cursor("changes") as cursor:
        cursor.itersize = ROWS_AT_ONCE
        for name, version, user_id, timestamp, body in cursor.execute(_CHANGES.encode(), values):
            if body is None:
                return changes, False
            changes.append(LoggedChange(name, epochs[name], version, user_id, timestamp, body.encode()))
    return changes, True


# -------------------------------------------------------------------------------------- generations


async def generations(archive: PostgresArchive) -> list[Generation]:
    """All, by number; raises LogUnavailable."""
    statement = b"SELECT number, format, serving FROM gateway.search_generation ORDER BY number"
    rows = await archive.run(lambda connection: connection.execute(statement).fetchall(), "none")
    return [Generation(*row) for row in rows]


async def added(archive: PostgresArchive, format: int, first: bool = False) -> Generation | None:
    """Another generation, for which all of the archive is due; `first`: only where there is none."""

    def add(connection: Connection[Any]) -> Generation | None:
        with connection.transaction():
            _take_turn(connection)
            row = connection.execute(b"SELECT max(number) FROM gateway.search_generation").fetchone()
            newest = 0 if row is None or row[0] is None else int(row[0])
            if first and newest:
                return None
            made = Generation(newest + 1, format, first)
            connection.execute(b"INSERT INTO gateway.search_generation VALUES (%s, %s, %s)", made)
            connection.execute(_FILL, {"number": made.number})
            connection.execute(_HOLD_DUE)
            connection.execute(_FILL, {"number": made.number})  # what is there for the first time
            return made

    return await archive.run(add, "unknown")


def begin_anew(connection: Connection[Any], format: int) -> None:
    """All of the archive was erased, and what was due with it. Another generation takes the place of those
    that there are; its index is made, and theirs are dropped, by the first worker that looks."""
    connection.execute(_BEGIN_ANEW, (format,))


async def refilled(archive: PostgresArchive, number: int) -> None:
    """All of the archive is due again for this one: its index is empty. Raises LogUnavailable."""
    statement = b"""
    UPDATE gateway.search_due SET done_epoch = 0, done_version = 0, claimed_until = NULL,
        since = CASE WHEN (epoch, version) <> (done_epoch, done_version) THEN since ELSE clock_timestamp() END
    WHERE generation = %s
    """

    def refill(connection: Connection[Any]) -> None:
        with connection.transaction():
            _take_turn(connection)
            connection.execute(statement, (number,))

    await archive.run(refill, "unknown")


def _take_turn(connection: Connection[Any]) -> None:
    """One at a time makes, fills or switches generations, for as long as that takes: all of the archive."""
    connection.execute(b"SET LOCAL statement_timeout = 0")
    connection.execute(f"SELECT pg_advisory_xact_lock({GENERATION_LOCK})".encode())


async def switched(archive: PostgresArchive, number: int) -> list[int]:
    """Have this one serve; the numbers of the others, which are followed no more."""

    def switch(connection: Connection[Any]) -> list[int]:
        with connection.transaction():
            _take_turn(connection)
            gone = connection.execute(
                b"DELETE FROM gateway.search_generation WHERE number <> %s RETURNING number", (number,)
            ).fetchall()
            connection.execute(b"DELETE FROM gateway.search_due WHERE generation <> %s", (number,))
            connection.execute(
                b"UPDATE gateway.search_generation SET serving = true WHERE number = %s", (number,)
            )
            return [old for (old,) in gone]

    return await archive.run(switch, "unknown")
