"""Nobody finds by search, count, highlight or the time of an answer what his token doesn't grant."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import AsyncMock

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from gateway.admission.grants import CappedGrants, parse_grants
from gateway.config import AuthoriserSettings
from gateway.log.search import embedded as search_embedded
from gateway.log.search.embedded import SearchWriter, connect, counted, found
from gateway.node.searching import Searcher
from gateway.ports.resources import Resource
from gateway.ports.search import EVERYTHING, Erasure, FoundEntry, IndexEntry, Scope, SearchIndex, Wanted
from gateway.runtime.metrics import Counters
from gateway.search.terms import terms_of
from gateway.sessions.authoriser_troubles import AuthoriserTroubles
from gateway.sessions.visible import Visible
from tests.search.contract import change, document
from tests.search.server_contract import opened

NAMES = st.sampled_from(["a", "a-1", "a-2", "b", "b~1", "ab", "A", "_", "1"])
TYPES = st.sampled_from(["event", "events", "calendar"])
PATTERNS = st.one_of(
    st.just("*"),
    st.builds("{}:{}".format, TYPES, NAMES),
    st.builds("{}:{}*".format, TYPES, st.one_of(st.just(""), NAMES)),
)
GRANTED = st.dictionaries(PATTERNS, st.sampled_from(["viewer", "editor", "admin"]), max_size=6)
TAKEN_BACK = st.lists(st.tuples(PATTERNS, st.sampled_from([None, "viewer"])), max_size=2).map(tuple)
GRANTS = st.builds(lambda granted, caps: CappedGrants(parse_grants(granted), caps), GRANTED, TAKEN_BACK)
SEEN = st.fixed_dictionaries({kind: st.frozensets(NAMES) for kind in ("event", "events", "calendar")})
TEXTS = st.lists(st.sampled_from(["secret", "会議", "plan", "Q3", "x"]), min_size=1, max_size=4).map(" ".join)
ENTRIES = st.lists(st.tuples(TYPES, NAMES, TEXTS, st.booleans()), max_size=25)
QUERIES = st.sampled_from(["secret", "会議", "会", "plan q3", "x", "", "se", '"plan x"', "et p", '"t"'])
PAGE = 3


def entries_of(drawn: Sequence[tuple[str, str, str, bool]]) -> list[IndexEntry]:
    made = []
    for number, (kind, name, text, is_document) in enumerate(drawn):
        make = document if is_document else change
        made.append(make(number, text, number + 1, type=kind, id=name))
    return made


def index_of(folder: Path, name: str, entries: Sequence[IndexEntry]) -> SearchWriter:
    writer = SearchWriter(connect(folder / name))
    writer.store(entries)
    return writer


def told(entries: Sequence[FoundEntry]) -> list[FoundEntry]:
    """By time; those of one time stand in an order that depends on nothing that was written."""
    return sorted(entries, key=lambda entry: (-entry.timestamp, entry.type, entry.id, entry.kind))


def visible_of(entries: Sequence[IndexEntry], grants: CappedGrants) -> list[IndexEntry]:
    return [entry for entry in entries if grants.role(Resource(entry.type, entry.id)) is not None]


@settings(max_examples=150, deadline=None)
@given(GRANTS, ENTRIES, QUERIES, st.booleans())
def test_an_answer_is_that_of_an_index_of_what_is_granted_alone(grants, drawn, query, walked):
    entries = entries_of(drawn)
    before = search_embedded.WALKED_MAX
    search_embedded.WALKED_MAX = before if walked else -1
    try:
        check_alone(entries, visible_of(entries, grants), grants.scope, query)
    finally:
        search_embedded.WALKED_MAX = before


class Telling:
    """An authoriser that tells what somebody may see, of each type."""

    def __init__(self, seen: Mapping[str, Collection[str]]) -> None:
        self.visible = AsyncMock(side_effect=lambda user_id, resource_type: seen[resource_type])


@settings(max_examples=150, deadline=None)
@given(GRANTS, SEEN, ENTRIES, QUERIES)
def test_an_answer_is_that_of_an_index_of_what_the_authoriser_tells_alone(grants, seen, drawn, query):
    visible = Visible(
        Telling(seen), AuthoriserSettings(hook="a:b", visible="a:c"), AuthoriserTroubles(Counters())
    )
    identity = SimpleNamespace(user_id="ann", role=grants.role)
    scope = trio.run(visible.scope, identity, list(seen))
    entries = entries_of(drawn)
    granted = [entry for entry in visible_of(entries, grants) if entry.id in seen[entry.type]]
    check_alone(entries, granted, scope, query)


def check_alone(
    entries: Sequence[IndexEntry], visible: Sequence[IndexEntry], scope: Scope, query: str
) -> None:
    """Page and count are those of an index that has what is visible and nothing else."""
    wanted = Wanted(scope, terms_of(query), 100)
    with tempfile.TemporaryDirectory() as folder:
        whole = index_of(Path(folder), "whole", entries)
        alone = index_of(Path(folder), "alone", visible)
        try:
            answer = found(whole.connection, wanted)
            assert told(answer) == told(found(alone.connection, wanted._replace(scope=EVERYTHING)))
            assert counted(whole.connection, wanted, 100) == len(answer)
        finally:
            whole.connection.close()
            alone.connection.close()


@settings(max_examples=100, deadline=None)
@given(GRANTS, ENTRIES, QUERIES)
def test_an_answer_of_a_search_server_is_that_of_one_of_what_is_granted_alone(grants, drawn, query):
    trio.run(compared, grants, entries_of(drawn), terms_of(query))


async def compared(grants: CappedGrants, entries: Sequence[IndexEntry], terms: Sequence[str]) -> None:
    wanted = Wanted(grants.scope, terms, PAGE)
    async with opened() as whole, opened() as alone:
        await whole.store(entries)
        await alone.store(visible_of(entries, grants))
        for index in (whole, alone):
            await index.refresh()
        answer = await pages(whole, wanted)
        assert answer == await pages(alone, wanted._replace(scope=EVERYTHING))
        assert await whole.count(wanted, 100) == sum(map(len, answer))
        assert await whole.count(wanted, 2) == min(2, sum(map(len, answer)))


async def pages(index: SearchIndex, wanted: Wanted) -> list[list[FoundEntry]]:
    """All of them, each as it is found."""
    found = [list(await index.find(wanted))]
    while len(found[-1]) == wanted.limit:
        found.append(list(await index.find(wanted._replace(after=found[-1][-1].place))))
    return found


def steps(writer: SearchWriter, wanted: Wanted) -> int:
    """What SQLite does for a search, in steps of its machine."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    writer.connection.set_progress_handler(count, 1)
    found(writer.connection, wanted)
    writer.connection.set_progress_handler(None, 0)
    return taken


def written_by_others(count: int) -> list[IndexEntry]:
    return [
        change(number, "secret plan", id=f"{'a' if number % 2 else 'z'}-{number % 50}", version=number)
        for number in range(count)
    ]


def test_who_may_read_little_makes_the_index_do_the_same_however_much_others_wrote(tmp_path):
    mine = [change(number, "secret plan", id="mine", version=number + 1) for number in range(20)]
    few = index_of(tmp_path, "few", [*mine, *written_by_others(10)])
    many = index_of(tmp_path, "many", [*mine, *written_by_others(3000)])
    for pattern in ("event:mine", "event:mi*", "event:none", "calendar:*"):
        scope = parse_grants({pattern: "viewer"}).scope
        for query in ("secret", "plan secret", "zz", "se", ""):
            wanted = Wanted(scope, terms_of(query), 10)
            assert steps(few, wanted) == steps(many, wanted), (pattern, query)
    for writer in (few, many):
        writer.connection.close()


class Busy:
    """An index that takes its time."""

    def __init__(self) -> None:
        self.takes_s = 0.0

    async def store(self, entries: Sequence[IndexEntry]) -> None:
        raise NotImplementedError

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        raise NotImplementedError

    async def find(self, wanted: Wanted) -> Sequence[FoundEntry]:
        await trio.sleep(self.takes_s)
        return []

    async def count(self, wanted: Wanted, most: int) -> int:
        return 0

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_an_answer_leaves_at_a_step_of_time(autojump_clock: MockClock):
    index = Busy()
    searcher = Searcher(index, Counters(), step_ms=50)
    for takes_ms, leaves_ms in ((0, 50), (1, 50), (30, 50), (49, 50), (51, 100), (120, 150)):
        index.takes_s = takes_ms / 1000
        began_s = trio.current_time()
        await searcher.search(Wanted(EVERYTHING), None)
        assert round((trio.current_time() - began_s) * 1000) == leaves_ms
