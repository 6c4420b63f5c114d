"""What brings a node of Elasticsearch here: it says what is missing, and opens a class."""

from __future__ import annotations

import struct

import pytest

from benchmarks import elasticsearch
from benchmarks.elasticsearch.class_file import ACC_FINAL, opened

PUBLIC, STATIC = 0x0001, 0x0008


def text(content: bytes) -> bytes:
    return b"\x01" + struct.pack(">H", len(content)) + content


def member(flags: int, attribute: bytes) -> bytes:
    """A field or method, named by the constants 1 and 2, with one attribute."""
    return struct.pack(">HHHH", flags, 1, 2, 1) + struct.pack(">HI", 1, len(attribute)) + attribute


def class_of(class_flags: int, field_flags: int, method_flags: list[int]) -> bytes:
    long = b"\x05" + struct.pack(">q", ACC_FINAL)  # counts as two
    constants = [text(b"name"), text(b"()V"), b"\x07" + struct.pack(">H", 1), long, text(b"after")]
    head = b"\xca\xfe\xba\xbe" + struct.pack(">HHH", 0, 52, 7) + b"".join(constants)
    about = struct.pack(">HHHHH", class_flags, 3, 3, 1, 3)  # one interface
    fields = struct.pack(">H", 1) + member(field_flags, b"\x00\x10")
    methods = struct.pack(">H", len(method_flags)) + b"".join(
        member(f, b"\x00\x10" * 9) for f in method_flags
    )
    return head + about + fields + methods + struct.pack(">H", 0)


def test_a_class_and_its_methods_are_final_no_more_and_nothing_else_is_changed():
    final = class_of(PUBLIC | ACC_FINAL, ACC_FINAL, [PUBLIC | ACC_FINAL, PUBLIC, STATIC | ACC_FINAL])
    assert opened(final) == class_of(PUBLIC, ACC_FINAL, [PUBLIC, PUBLIC, STATIC])


def test_without_java_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(elasticsearch.CannotStart, match="apt-get install openjdk-17-jdk-headless"):
        elasticsearch.check_java()


def test_where_the_wheel_is_not_to_be_had_it_says_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("GATEWAY_BENCHMARKS_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert not elasticsearch.is_here()
    with pytest.raises(elasticsearch.CannotStart, match=r"pip can't fetch pyserini==0\.12\.0.*--url"):
        elasticsearch.jar()
    assert list(tmp_path.iterdir()) == []
