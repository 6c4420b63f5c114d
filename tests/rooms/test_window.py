"""The window of recent changes: its bounds, and what they leave alone."""

from __future__ import annotations

import subprocess
import sys

import orjson
import pytest

from gateway.ports.values import Record
from gateway.rooms.window import Window, entries_of


def window(changes: int) -> Window:
    """So many changes of one title each."""
    made = Window()
    records = []
    for version in range(1, changes + 1):
        path = "/title" if version > 1 else ""
        value = {"title": ""} if version == 1 else f"title {version}"
        operation = {"op": "add" if version == 1 else "replace", "path": path, "value": value}
        body = {"version": version, "operations": [operation], "op_id": f"{version}", "timestamp": 0}
        fields = orjson.dumps(body | {"user_id": "u", "client_id": "c"})
        records.append(Record(version, fields, "u", "c", None, "", 0, None))
    for entry in entries_of(None, records):
        made.append(entry)
    return made


def test_a_window_is_bounded_in_versions_and_in_bytes() -> None:
    by_versions, by_bytes = window(10), window(10)
    by_versions.trim(4, 1 << 30)
    assert len(by_versions) == 4
    each = by_bytes.bytes // 10
    by_bytes.trim(100, 3 * each + each // 2)
    assert len(by_bytes) == 3
    by_bytes.trim(0, 0)
    assert (len(by_bytes), by_bytes.bytes) == (0, 0)


def test_what_is_needed_stays_whatever_the_bounds() -> None:
    made = window(10)
    made.trim(0, 0, needed=4)
    assert [kept.record().version for kept in made.since(6, 10)] == [7, 8, 9, 10]
    made.trim(0, 0, needed=400)
    assert len(made) == 4


def test_a_window_never_pretends_to_reach_back_further_than_it_does() -> None:
    made = window(10)
    made.trim(4, 1 << 30)
    assert made.covers(6, 10)
    assert not made.covers(5, 10)
    with pytest.raises(LookupError, match="version 5"):
        made.since(5, 10)


def changes_of(document: object, patches: list[list[dict[str, object]]]) -> Window:
    """A window of changes that were made on a document."""
    made = Window()
    records = []
    for version, patch in enumerate(patches, 1):
        change = {"version": version, "operations": patch, "op_id": f"{version}", "timestamp": 0}
        body = orjson.dumps(change | {"user_id": "u", "client_id": "c"})
        records.append(Record(version, body, "u", "c", None, "", 0, None))
    for entry in entries_of(document, records):
        made.append(entry)
    return made


def test_a_change_weighs_the_containers_that_it_copied() -> None:
    """Each of 250 edits of an array of half a million keeps another copy of it alive: 4 MB, not 1 KB."""
    patch: list[dict[str, object]] = [{"op": "replace", "path": "/l/7", "value": 1}]
    made = changes_of({"l": [0] * 500_000, "title": "x"}, [patch] * 20)
    assert made.bytes >= 20 * 4_000_000
    made.trim(200, 256 << 10)
    assert made.bytes <= 256 << 10


def test_what_one_change_copies_once_weighs_once() -> None:
    one: list[dict[str, object]] = [{"op": "replace", "path": "/l/7", "value": 1}]
    document = {"l": [0] * 100_000, "t": "x" * 100_000}
    single, several = changes_of(document, [one]).bytes, changes_of(document, [one * 50]).bytes
    assert several < single + 50 * 200
    typed: list[dict[str, object]] = [{"op": "text", "path": "/t", "value": [1, "y"]}]
    assert 100_000 <= changes_of(document, [typed * 50]).bytes < 110_000


def test_a_kept_edit_takes_the_memory_that_it_is_charged() -> None:
    """Of a title: about 1 KB. It was 4 KB where the record was in memory that orjson had made larger."""
    command = [sys.executable, "-m", "tests.rooms.kept_memory"]
    found = orjson.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert found["resident_bytes"] < 1.5 * found["charged_bytes"], found
