"""What every adapter of `AuditStore` does. A test module subclasses `AuditContract` and makes one."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import trio

from gateway.ports.audit import DONE, RETAINED, AuditEntry, AuditRecord, AuditSearch, AuditStore, ChainCheck

ALL = AuditSearch(1000, after=0)


def entry(stamp_ms: int = 1, **further: object) -> AuditEntry:
    return AuditEntry(stamp_ms, "n1", "purge", "ann", "event:1", DONE, {})._replace(**further)


async def faults(store: AuditStore) -> list[str]:
    check = ChainCheck()
    for record in await store.find(ALL):
        check.follow(record)
    return list(check.ended())


class AuditContract:
    """See the module's docstring. `store` gives an empty one."""

    def store(self) -> AbstractAsyncContextManager[AuditStore]:
        raise NotImplementedError

    async def test_records_are_chained_and_come_back_as_they_went_in(self) -> None:
        async with self.store() as store:
            said = entry(7, actor="会議\N{GRINNING FACE}", details={"b": [1, None], "a": {"x": "y"}})
            first = await store.append([said, entry(8)])
            second = await store.append([entry(9)])
            assert [record.number for record in (*first, *second)] == [1, 2, 3]
            assert second[0].previous == first[1].digest
            assert first[0].entry == said
            assert await store.find(ALL) == [*first, *second]
            assert [AuditRecord.of(record.named) for record in first] == first
            assert await faults(store) == []

    async def test_what_was_tried_and_is_there_is_not_written_again(self) -> None:
        async with self.store() as store:
            said = [entry(number, details={"b": [1, None], "a": "x\0y"}) for number in range(4)]
            first = await store.append(said[:2])
            await store.append([entry(1, actor="bob")])
            again = await store.append(said, tried=3)
            assert [record.number for record in again] == [1, 2, 4, 5]
            assert again[:2] == first
            assert [record.entry.stamp_ms for record in await store.find(ALL)] == [0, 1, 1, 2, 3]
            await store.append(said[3:])
            assert len(await store.find(ALL)) == 6, "what wasn't tried is another one"
            assert await faults(store) == []

    async def test_what_is_wanted_is_found_newest_first_and_page_by_page(self) -> None:
        async with self.store() as store:
            await store.append(
                [
                    entry(1, actor="bob"),
                    entry(2, act="drain", details={"why": "Upgrade"}),
                    entry(3, subject="event:2"),
                    entry(4, result="FORBIDDEN"),
                ]
            )

            async def numbers(**wanted: object) -> list[int]:
                found = await store.find(AuditSearch(10)._replace(**wanted))
                return [record.number for record in found]

            assert await numbers() == [4, 3, 2, 1]
            assert await numbers(limit=2) == [4, 3]
            assert await numbers(limit=2, before=3) == [2, 1]
            assert await numbers(limit=2, after=1) == [2, 3]
            assert await numbers(actor="bob") == [1]
            assert await numbers(act="drain") == [2]
            assert await numbers(subject="event:2") == [3]
            assert await numbers(text="upgRADE") == [2]
            assert await numbers(text="forbidden") == [4]
            assert await numbers(text="%") == []
            assert await numbers(text="up\0grade", act="dr\0ain") == []
            assert await numbers(since_ms=2, until_ms=4) == [3, 2]

    async def test_many_writers_make_one_chain(self) -> None:
        async with self.store() as store:
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(store.append, [entry(number), entry(number)])
            assert len(await store.find(ALL)) == 40
            assert await faults(store) == []

    async def test_old_records_go_and_the_chain_says_so(self) -> None:
        async with self.store() as store:
            await store.append([entry(number) for number in range(10)])
            assert await store.retain(0, "n1", 20) == 0
            assert await store.retain(4, "n1", 20) == 4
            found = await store.find(ALL)
            assert [record.number for record in found] == [*range(5, 12)]
            assert found[-1].entry.act == RETAINED
            assert await faults(store) == []
            assert await store.retain(1000, "n1", 1000) == 6  # the newest stays, so the chain goes on
            assert [record.number for record in await store.find(ALL)] == [11, 12]
            assert await faults(store) == []
