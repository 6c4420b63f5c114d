"""docs/reference/protocol.md and the code name the same messages, fields, error codes and close codes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gateway.http.shapes import SCHEMAS
from gateway.runtime import close_codes
from gateway.sessions.handlers import HANDLERS
from gateway.sessions.session import CLOSING_CODES
from tests.cli.commands import ROOT
from tests.docs import contract

# Where payloads are read and written.
WIRE = ("wire", "sessions", "rooms")
# The kernel's report is what an OP_ACK carries.
REPORTS = "ot/kernel/conflicts.py"
# Where connections are closed.
CLOSERS = (*WIRE, "admission", "transport")


@cache
def trees(*places: str) -> tuple[ast.Module, ...]:
    """The parsed sources of these files, and of all files in these folders."""
    package = ROOT / "gateway"
    found = [
        [package / place] if place.endswith(".py") else (package / place).rglob("*.py") for place in places
    ]
    paths = [path for files in found for path in sorted(files)]
    return tuple(ast.parse(path.read_text()) for path in paths)


def nodes(*places: str) -> Iterator[ast.AST]:
    for tree in trees(*places):
        yield from ast.walk(tree)


def called(node: ast.AST) -> str:
    """The last name of what a node calls."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def messages_sent() -> set[str]:
    """What `encode("TYPE", ...)`, `send("TYPE", ...)` and their like write; all of presence and children."""
    found = set()
    for node in nodes(*WIRE, "hub", "node"):
        if isinstance(node, ast.Call) and re.search("encode|send", called(node)):
            found.update(map(text, node.args))
        if (text(node) or "").startswith(("PRESENCE_", "CHILD_")):
            found.add(text(node))
    return {name for name in found if name and re.fullmatch("[A-Z_]+", name)}


def fields_of_code() -> set[str]:
    """The members of payloads that are read (`text_of(payload, "token")`, `payload.get`) or written."""
    found: set[str | None] = set()
    for node in nodes(*WIRE):
        if called(node).endswith("_of") and isinstance(node, ast.Call):
            found.update(map(text, node.args[1:]))
        if called(node) == "get" and ast.unparse(node.func) in ("payload.get", "value.get"):
            found.add(text(node.args[0]))
        if called(node) == "Refusal":
            found.update(keyword.arg for keyword in node.keywords)
        if isinstance(node, ast.Dict):
            found.update(text(key) for key in node.keys if key is not None)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            found.add(text(node.slice))
        if isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]) == "payload":
            found.add(text(node.left))
    return {name for name in found | reported() if name and re.fullmatch("[a-z][a-z_]*", name)}


def reported() -> set[str | None]:
    """The members of the kernel's report on a conflict, without what only the room reads and takes out."""
    [report] = [node for node in nodes(REPORTS) if getattr(node, "name", "") == "described"]
    taken = {text(node.args[0]) for node in nodes("rooms") if called(node) == "pop" and node.args}
    return {text(node) for node in ast.walk(report)} - taken


def error_codes_of_code() -> set[str]:
    """The codes that a Refusal, a PatchError or a kernel's error is made with."""
    found = set()
    for path in (ROOT / "gateway").rglob("*.py"):
        found |= set(re.findall(r"(?:Refusal|PatchError|unavailable)\(\s*\"([A-Z_]+)\"", path.read_text()))
    kernel = (ROOT / "gateway" / "ot" / "kernel" / "values.py").read_text()
    return found | set(re.findall(r"^[A-Z_]+ = \"([A-Z_]{6,})\"", kernel, re.MULTILINE))


def close_codes_by_name() -> dict[str, int]:
    return {name: code for name, code in vars(close_codes).items() if type(code) is int}


def close_codes_of_code() -> set[int]:
    """Those that a connection is closed with, or a kernel tells."""
    named = close_codes_by_name()
    found = {
        named[node.attr]
        for node in nodes(*CLOSERS)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "close_codes"
    }
    kernels = "".join(path.read_text() for path in (ROOT / "_speedups").glob("*.pyx"))
    numbers = {int(number) for number in re.findall(r"\b1(?:00\d|01[0-5])\b", kernels)}
    return found | (numbers - {1000})


def bare_close_codes(path: Path) -> set[int]:
    """The close codes that a module has as numbers: our own anywhere, others where a connection is closed."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and type(node.value) is int and 4400 <= node.value < 4600:
            found.add(node.value)
        closes = called(node) in ("close", "Disconnect", "say_close", "_end", "Refused")
        if isinstance(node, ast.Assign):
            closes = bool(re.search("CODE|CLOSE", ast.unparse(node.targets[0])))
        if closes:
            found |= {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
    return {code for code in found if type(code) is int and (1000 < code < 1016 or 4000 < code < 5000)}


def test_it_names_the_messages_of_clients():
    documented = contract.sent_by("client")
    assert documented == set(HANDLERS)


def test_it_names_the_messages_of_the_server():
    assert contract.sent_by("server") == messages_sent()


def test_it_names_every_field_that_is_read_or_written():
    assert fields_of_code() - contract.field_names() == set()


def test_every_field_that_it_names_is_read_or_written():
    assert contract.field_names() - fields_of_code() == set()


def test_it_names_the_error_codes():
    assert set(contract.error_codes()) == error_codes_of_code() | set(CLOSING_CODES)


@pytest.mark.parametrize("code", sorted(contract.error_codes()))
def test_it_says_which_errors_close(code):
    assert contract.error_codes()[code] == CLOSING_CODES.get(code)


def test_it_names_the_close_codes():
    assert contract.close_codes() == set(close_codes_by_name().values())


def test_connections_are_closed_with_each_of_them():
    assert close_codes_of_code() == contract.close_codes() - {close_codes.NORMAL}, "that is the client's own"


def test_they_have_no_other_home():
    home = Path(close_codes.__file__)
    others = [path for path in (ROOT / "gateway").rglob("*.py") if path != home]
    bare = {str(path): found for path in others if (found := bare_close_codes(path))}
    assert bare_close_codes(home), "they are found"
    assert bare == {}


def test_a_field_that_it_does_not_name_is_noticed():
    message = {"type": "PONG", "payload": {"extra": 1}}
    with pytest.raises(AssertionError, match=r"extra.*PONG"):
        contract.check_received(message)


def test_a_message_that_it_does_not_name_is_noticed():
    with pytest.raises(AssertionError, match="GOSSIP"):
        contract.check_received({"type": "GOSSIP", "payload": {}})


def test_the_connection_that_it_shows_is_made_of_messages_that_it_names():
    sent, received = (contract.shown(arrow) for arrow in ("->", "<-"))
    assert len(sent) > 2 and len(received) > 2
    for message in received:
        contract.check_received(message)
    for message in sent:
        assert message["type"] in contract.sent_by("client")
        assert message["payload"].keys() <= contract.messages()[message["type"]], message


def test_it_tells_at_a_glance_of_every_message():
    glance = contract.sections()["At a glance"].text
    assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", glance)) >= set(contract.messages())


def test_every_status_of_a_refused_handshake_is_told():
    rejections = [
        node for node in nodes("sessions", "transport", "http/heads.py") if called(node) == "Rejection"
    ]
    refused = {ast.literal_eval(node.args[0]) for node in rejections if isinstance(node, ast.Call)}
    rows = contract.sections()["Connecting"].table("status")
    assert {int(status) for row in rows for status in row[0].split(", ")} == refused


def test_a_change_over_http_is_described_with_all_its_fields():
    described = SCHEMAS["Change"]
    fields = contract.sections()["The change"].fields()
    assert described["properties"].keys() - {"summary", "difference"} == fields
    assert "conflicts" not in described["required"]
