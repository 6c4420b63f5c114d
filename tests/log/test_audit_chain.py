"""The chain of the audit: whatever is done to records, but to take the newest away, is seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ports.audit import COLUMNS, DONE, FIRST, AuditEntry, AuditRecord, ChainCheck, chained, retained

COUNT = 6
TEXTS = st.sampled_from(["", "ann", "event:1", "会議", "ann\0", "\U0001f600"])
DETAILS = st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(-9, 9), st.none()), max_size=2)
ENTRIES = st.builds(AuditEntry, st.integers(0, 9), *([TEXTS] * 4), st.just(DONE), DETAILS)
PLACES = st.integers(0, COUNT - 1)
Records = Sequence[AuditRecord]


def faults(records: Records) -> Sequence[str]:
    check = ChainCheck()
    for record in records:
        check.follow(record)
    return check.ended()


def edited(records: Records, at: int, entry: AuditEntry) -> list[AuditRecord]:
    """One says something else."""
    changed = list(records)
    changed[at] = records[at]._replace(entry=entry)
    return changed


def forged(records: Records, at: int, entry: AuditEntry) -> list[AuditRecord]:
    """The same, with its digest made anew."""
    before = records[at - 1].digest if at else FIRST
    changed = list(records)
    changed[at] = chained(at, before, [entry])[0]
    return changed


def dropped(records: Records, at: int, entry: AuditEntry) -> list[AuditRecord]:
    return [*records[:at], *records[at + 1 :]]


def swapped(records: Records, at: int, entry: AuditEntry) -> list[AuditRecord]:
    """With the one before it."""
    changed = list(records)
    changed[at], changed[at - 1] = changed[at - 1], changed[at]
    return changed


def repeated(records: Records, at: int, entry: AuditEntry) -> list[AuditRecord]:
    return [*records[: at + 1], *records[at:]]


def put_in(records: Records, at: int, entry: AuditEntry) -> list[AuditRecord]:
    """Another one comes before it."""
    return [*records[:at], *chained(at, records[at - 1].digest if at else FIRST, [entry]), *records[at:]]


def beheaded(records: Records, at: int, entry: AuditEntry) -> list[AuditRecord]:
    return list(records[at + 1 :])


@pytest.mark.parametrize("tamper", [edited, forged, dropped, swapped, repeated, put_in, beheaded])
@given(entries=st.lists(ENTRIES, min_size=COUNT, max_size=COUNT), at=PLACES, entry=ENTRIES)
def test_what_is_done_to_records_is_seen(
    tamper: Callable[[Records, int, AuditEntry], Records],
    entries: Sequence[AuditEntry],
    at: int,
    entry: AuditEntry,
) -> None:
    records = chained(0, FIRST, entries)
    assert faults(records) == []
    tampered = tamper(records, at, entry)
    # The newest is bound by nothing that follows, and neither is what was said again.
    if list(tampered) != records[: len(tampered)] and not (tamper is forged and at == COUNT - 1):
        assert faults(tampered) != []


def test_only_the_right_record_explains_what_is_gone() -> None:
    said = AuditEntry(1, "n1", "purge", "ann", "event:1", DONE, {})
    records = chained(0, FIRST, [said] * COUNT)
    last = records[-1]
    for through, is_right in ((records[2], True), (records[1], False), (records[3], False)):
        noted = chained(last.number, last.digest, [retained(through, 3, 9, "n1", 9)])
        assert (faults([*records[3:], *noted]) == []) is is_right


@pytest.mark.parametrize(
    "member",
    [{"number": "7"}, {"number": None}, {"number": True}, {"details": []}, {"actor": None}, {"digest": 1}],
)
def test_what_is_no_record_is_not_taken_for_one(member: dict[str, object]) -> None:
    [record] = chained(0, FIRST, [AuditEntry(1, "n1", "purge", "ann", "event:1", DONE, {})])
    assert AuditRecord.of(record.named) == record
    assert AuditRecord.of_row(record.row) == record and len(record.row) == len(COLUMNS)
    with pytest.raises(TypeError):
        AuditRecord.of({**record.named, **member})
