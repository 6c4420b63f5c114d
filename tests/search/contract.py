"""What every adapter of `SearchIndex` does. A test module subclasses `SearchContract` and makes one."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

from gateway.ports.search import (
    EVERYTHING,
    Erasure,
    FoundEntry,
    IndexEntry,
    Scope,
    SearchIndex,
    SearchPlace,
    Wanted,
)
from gateway.search.terms import terms_of
from gateway.search.texts import FOLDED_LENGTH_MAX


def change(number: int, text: str | None, version: int = 1, **further: Any) -> IndexEntry:
    """Of event `number`, made in second `number`."""
    made = IndexEntry("change", "event", str(number), 1, version, "ann", number * 1000, text)
    return made._replace(**further)


def document(number: int, text: str | None, version: int = 1, **further: Any) -> IndexEntry:
    return change(number, text, version, kind="document", **further)


async def search(index: SearchIndex, query: str = "", **wanted: Any) -> list[FoundEntry]:
    asked = Wanted(EVERYTHING, terms_of(query), 1000)._replace(**wanted)
    return list(await index.find(asked))


async def ids(index: SearchIndex, query: str = "", **wanted: Any) -> list[str]:
    return [found.id for found in await search(index, query, **wanted)]


def scope(*patterns: str) -> Scope:
    """Of grants."""
    names = frozenset(pattern for pattern in patterns if not pattern.endswith("*"))
    return Scope(names, frozenset(pattern[:-1] for pattern in patterns if pattern.endswith("*")))


def less(granted: Scope, *patterns: str) -> Scope:
    """A scope from which something was taken back."""
    gone = scope(*patterns)
    return granted._replace(without=gone.names, without_prefixes=gone.prefixes)


class SearchContract:
    """See the module's docstring. `index` gives an empty one; what is stored is found when `seen` returns."""

    def index(self) -> AbstractAsyncContextManager[SearchIndex]:
        raise NotImplementedError

    async def seen(self, index: SearchIndex) -> None:
        """Until what was stored is found."""

    async def test_all_words_must_occur_newest_first_whatever_their_case(self) -> None:
        async with self.index() as index:
            await index.store(
                [
                    change(1, "Team lunch in room 4"),
                    document(2, "Dinner\nwith the TEAM"),
                    change(3, "Breakfast"),
                    change(4, 'A "quoted" 100% sure_thing\\'),
                ]
            )
            await self.seen(index)
            assert await ids(index, "team") == ["2", "1"]
            assert await ids(index, "Lunch team") == ["1"]
            assert await ids(index, '"team lunch"') == ["1"]
            assert await ids(index, '"lunch team"') == []
            assert await ids(index, "unch") == ["1"]
            assert await ids(index) == ["4", "3", "2", "1"]
            for text in ("100%", "sure_thing\\", "_", "sure_", '"quoted"'):
                assert await ids(index, text) == ["4"], text
            assert await ids(index, "quoted breakfast") == []

    async def test_texts_without_spaces_are_found_and_so_are_one_and_two_characters(self) -> None:
        async with self.index() as index:
            texts = [
                "東京での会議",
                "会",
                "昼の会議室を予約",
                "ﾌﾟﾛｼﾞｪｸﾄ ＡＢＣ",
                "Q3",
                "プロジェクト",
                "a",
                "\U0001f600!",
            ]
            await index.store([change(number, text) for number, text in enumerate(texts)])
            await self.seen(index)
            assert await ids(index, "会議") == ["2", "0"]
            assert await ids(index, "会") == ["2", "1", "0"]
            assert await ids(index, "会議室") == ["2"]
            assert await ids(index, "プロジェクト") == ["5", "3"]
            assert await ids(index, "abc") == ["3"]
            assert await ids(index, "q3") == ["4"]
            assert await ids(index, "q") == ["4"]
            assert await ids(index, "a") == ["6", "3"]
            assert await ids(index, "\U0001f600") == ["7"]
            assert await ids(index, "予約 会") == ["2"]
            assert await ids(index, "議会") == []

    async def test_a_character_that_stands_before_thousands_of_others_is_found_everywhere(self) -> None:
        async with self.index() as index:
            others = [chr(0x4E00 + number) for number in range(3000)]
            lines = ["".join("の" + other for other in others[at : at + 100]) for at in range(0, 3000, 100)]
            entries = [change(number, line) for number, line in enumerate(lines)]
            await index.store([*entries, change(100, "龍の翼"), change(101, "龍")])
            await self.seen(index)
            assert await ids(index, "の") == ["100", *(str(number) for number in reversed(range(30)))]
            assert await ids(index, "の 龍") == ["100"]
            assert await ids(index, "の 龍の翼") == ["100"]
            assert await ids(index, "の", scope=scope("event:10*", "event:2")) == ["100", "10", "2"]
            assert await index.count(Wanted(EVERYTHING, ["の"]), 1000) == 31

    async def test_whatever_characters_there_are_they_are_text(self) -> None:
        async with self.index() as index:
            texts = ["abc\0defgh", "x\0y", "NEAR(a b) ^c -d f:g h* {i}: + 'j' 100%", "\U0010ffff\ufffe"]
            await index.store([change(number, text) for number, text in enumerate(texts)])
            await self.seen(index)
            for query in ("defgh", "abc", '"abc\0defgh"', "abc\0defgh", "fgh abc"):
                assert await ids(index, query) == ["0"], query
            for query in ("x", "x\0y", "y"):
                assert await ids(index, query) == ["1"], query
            for query in ("near(", "^c", "-d", "f:g", "h*", "{i}:", "+", "'j'", "*", "near(a ^c"):
                assert await ids(index, query) == ["2"], query
            for query in ("OR", "a* AND b", "\0", '"', '""', "NOT x", "\x01"):
                assert await ids(index, query) == (await ids(index) if query in ("\0", '""') else []), query
            assert await ids(index, "\ufffe") == ["3"]
            # Nothing comes after that character, and it may come after another one.
            await index.store([change(4, "§\U0010ffff\U0010ffff"), change(5, "¶\U0010ffff")])
            await self.seen(index)
            assert (await ids(index, "§"), await ids(index, "¶")) == (["4"], ["5"])

    async def test_what_stands_in_two_lines_is_found_as_one(self) -> None:
        async with self.index() as index:
            await index.store([change(1, "Bring cake\nand tea"), change(2, "Bring cake\n\nand tea")])
            await self.seen(index)
            assert await ids(index, '"cake\nand"') == ["1"]
            (found,) = await search(index, '"cake\n\nand"')
            assert [fragment.text for fragment in found.fragments] == ["Bring cake\n\nand tea"]
            assert await ids(index, '"cake and"') == []
            assert await ids(index, "cake and") == ["2", "1"]

    async def test_what_matched_is_shown(self) -> None:
        async with self.index() as index:
            await index.store([change(1, f"{'x' * 200} The Team Lunch, {'y' * 200} lunch")])
            await self.seen(index)
            [found] = await search(index, "lunch team")
            [fragment] = found.fragments
            assert [fragment.text[at : at + size] for at, size in fragment.marks] == ["Team", "Lunch"]
            assert len(fragment.text) < 120
            [found] = await search(index)
            assert found.fragments == []

    async def test_what_matched_is_shown_as_it_is_written(self) -> None:
        async with self.index() as index:
            await index.store([change(1, "東" * 1000 + "ＬＵＮＣＨ ｶﾞ" + "京" * 1000)])
            await self.seen(index)
            for query, written in (("lunch", "ＬＵＮＣＨ"), ("ガ", "ｶﾞ"), ("nch ガ京", "ＮＣＨ ｶﾞ京")):
                [found] = await search(index, f'"{query}"')
                [fragment] = found.fragments
                assert [fragment.text[at : at + size] for at, size in fragment.marks] == [written]

    async def test_a_page_of_long_texts_is_found_whole_and_shows_what_matched_of_the_first(self) -> None:
        async with self.index() as index:
            long = "会" * (FOLDED_LENGTH_MAX // 4) + " lunch"
            await index.store([change(number, long) for number in range(5)])
            await index.store([change(5, "x" * 1000 + " lunch")])
            await self.seen(index)
            found = await search(index, "lunch")
            assert [(entry.id, len(entry.fragments)) for entry in found] == [
                ("5", 1), ("4", 1), ("3", 1), ("2", 1), ("1", 1), ("0", 0)
            ]  # fmt: skip

    async def test_people_kinds_types_and_times(self) -> None:
        async with self.index() as index:
            await index.store(
                [
                    change(1, "one", user_id="bob"),
                    document(2, "one"),
                    change(3, "one", type="task"),
                    change(4, "one"),
                ]
            )
            await self.seen(index)
            assert await ids(index, "one", user_id="bob") == ["1"]
            assert await ids(index, user_id="ann") == ["4", "3", "2"]
            assert await ids(index, kind="document") == ["2"]
            assert await ids(index, "one", kind="change") == ["4", "3", "1"]
            assert await ids(index, types=["task"]) == ["3"]
            assert await ids(index, types=[]) == []
            assert await ids(index, "one", since_ms=2000, until_ms=4000) == ["3", "2"]
            for long_ago, far in ((-(10**14), 10**15 - 1), (0, 253402300799000)):
                assert await ids(index, "one", since_ms=long_ago, until_ms=far) == ["4", "3", "2", "1"]
                assert await ids(index, "one", until_ms=long_ago) == []
                assert await ids(index, "one", since_ms=far) == []

    async def test_storing_again_and_in_any_order_leaves_the_newest_once(self) -> None:
        async with self.index() as index:
            stored = [document(1, f"state {version}", version, timestamp=version) for version in range(5)]
            changes = [change(1, f"state {version}", version, timestamp=version) for version in range(5)]
            both = [*stored, *changes]
            for _ in range(3):
                random.Random(1).shuffle(both)
                await index.store(both)
                await index.store(both[:3])
            await self.seen(index)
            assert await index.count(Wanted(EVERYTHING, ["state"]), 100) == 6
            [newest] = await search(index, kind="document")
            assert newest.version == 4
            await index.store([document(1, None, 5, timestamp=5)])  # deleted
            await self.seen(index)
            assert await search(index, kind="document") == []
            await index.store([document(1, "again", 6, timestamp=6)])
            await self.seen(index)
            assert len(await search(index, kind="document")) == 1

    async def test_pages_meet_without_gap_or_repetition(self) -> None:
        async with self.index() as index:
            # Many at one time.
            entries = [change(number, f"entry {number}", timestamp=number // 7) for number in range(50)]
            await index.store(entries)
            await self.seen(index)
            for query in ("entry", ""):
                whole, after = [], None
                while page := await search(index, query, limit=8, after=after):
                    whole += page
                    after = SearchPlace.read(page[-1].place.written())
                assert len({found.id for found in whole}) == len(whole) == 50
                assert [found.timestamp for found in whole] == sorted(
                    (found.timestamp for found in whole), reverse=True
                )

    async def test_who_edits_between_two_pages_takes_nothing_else_from_them(self) -> None:
        async with self.index() as index:
            made = [(change(number, "lunch"), document(number, "lunch")) for number in range(4)]
            await index.store([entry._replace(timestamp=7000) for both in made for entry in both])
            await self.seen(index)
            shown, after = set(), None
            while page := await search(index, "lunch", limit=1, after=after):
                shown |= {(found.kind, found.id) for found in page}
                after = page[-1].place
                if page[-1].kind == "document":  # the one that the page ends with moves to its new time
                    await index.store([document(int(page[-1].id), "lunch", 2, timestamp=8000)])
                    await self.seen(index)
            assert shown == {(kind, str(number)) for kind in ("change", "document") for number in range(4)}

    async def test_what_is_erased_is_gone_and_stays_gone(self) -> None:
        async with self.index() as index:
            old = [change(1, "secret", version) for version in range(1, 4)] + [document(1, "secret", 3)]
            await index.store([*old, change(2, "secret")])
            await self.seen(index)
            await index.erase([Erasure("event:1", 2)])
            assert await ids(index, "secret") == ["2"]
            await index.store(old)  # late
            await index.erase([Erasure("event:1", 2)])
            await self.seen(index)
            assert await ids(index, "secret") == ["2"]
            await index.store([change(1, "anew", 1, epoch=2), document(1, "anew", 1, epoch=2)])
            await self.seen(index)
            assert await ids(index, "anew") == ["1", "1"]

    async def test_old_changes_go_and_the_document_stays(self) -> None:
        async with self.index() as index:
            await index.store(
                [change(1, "text", version) for version in range(1, 6)] + [document(1, "text", 5)]
            )
            await self.seen(index)
            await index.erase([Erasure("event:1", 1, upto=3)])
            await index.store([change(1, "text", 2)])
            await self.seen(index)
            await index.erase([Erasure("event:1", 1, upto=3)])
            found = await search(index, "text", kind="change")
            assert sorted(item.version for item in found) == [4, 5]
            assert len(await search(index, "text", kind="document")) == 1

    async def test_only_what_may_be_read_is_found_counted_and_shown(self) -> None:
        async with self.index() as index:
            names = ["a", "a-1", "a-2", "b", "b-1", "_", "%"]
            await index.store(
                [
                    change(number, f"secret {name}", type=kind, id=name)
                    for number, (kind, name) in enumerate((k, n) for k in ("event", "events") for n in names)
                ]
            )
            await self.seen(index)
            for patterns, gone in _some_patterns(names):
                granted = less(scope(*patterns), *gone)
                expected = sorted(
                    f"{kind}:{name}"
                    for kind in ("event", "events")
                    for name in names
                    if granted.covers(f"{kind}:{name}")
                )
                for query in ("secret", "", "se"):
                    found = await search(index, query, scope=granted)
                    assert sorted(f"{item.type}:{item.id}" for item in found) == expected, (patterns, gone)
                    asked = Wanted(granted, terms_of(query))
                    assert await index.count(asked, 1000) == len(expected)
            assert await index.count(Wanted(EVERYTHING), 3) == 3


def _some_patterns(names: list[str]) -> Iterable[tuple[list[str], list[str]]]:
    """Grants, and what of them was taken back."""
    yield [], []
    yield ["*"], []
    yield ["*"], ["*"]
    ends = [*names, *(f"{name}*" for name in names), "*"]
    choices = [f"{kind}:{end}" for kind in ("event", "events", "e") for end in ends]
    rng = random.Random(7)
    for size in (1, 1, 2, 3, 5, 8):
        yield rng.sample(choices, size), []
        yield rng.sample([*choices, "*"], size), rng.sample(choices, size)
        yield ["*"], rng.sample(choices, size)
