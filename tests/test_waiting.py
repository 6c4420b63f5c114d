"""Waiting for what nothing signals."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.waiting import until, until_equal


async def test_the_first_true_answer_is_returned(autojump_clock: trio.testing.MockClock) -> None:
    answers = iter((0, "", None, "yes", "no"))
    assert await until(lambda: next(answers)) == "yes"


async def test_a_function_may_be_async(autojump_clock: trio.testing.MockClock) -> None:
    answers = iter((0, [], [1], [2]))

    async def asked() -> object:
        await trio.sleep(1)
        return next(answers)

    assert await until(asked) == [1]
    answers = iter((1, 2, 3))
    await until_equal(asked, 2)
    assert next(answers) == 3


async def test_what_never_comes_fails_and_is_named(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(AssertionError, match="in 5 s: the end; last: False"):
        await until(lambda: False, "the end", within_s=5)


async def test_a_function_that_hangs_fails_too(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(AssertionError, match="in 5 s; last: None"):
        await until(trio.sleep_forever, within_s=5)


async def test_what_never_equals_is_told_as_it_was_at_last(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(AssertionError, match="in 300 s: 0; last: 3"):
        await until_equal(lambda: 3, 0)


async def test_what_a_function_raises_goes_on() -> None:
    with pytest.raises(KeyError):
        await until(lambda: {}["missing"])


def hasty(path: Path) -> Iterator[str]:
    """Where a module gives up a real server after a time of its own, or after the five seconds of httpx."""
    text = path.read_text()
    for call in ast.walk(ast.parse(text)):
        if not isinstance(call, ast.Call):
            continue
        options = {option.arg for option in call.keywords}
        match ast.unparse(call.func), call.args:
            case "trio.fail_after", [ast.Constant()] if "autojump_clock" not in text:
                yield f"{path.name}:{call.lineno}"
            case "httpx.AsyncClient", _ if options.isdisjoint({"timeout", "transport"}):
                yield f"{path.name}:{call.lineno}"


def test_what_ends_what_hangs_has_the_patience_of_a_busy_machine():
    modules = Path(__file__).parent.rglob("*.py")
    assert [place for path in modules for place in hasty(path)] == []


WAIT_IN_TYPESCRIPT = re.compile(r"(?:vi\s*\.wait(?:For|Until)|expect\s*\.poll)\(")
WAIT_OF_TESTING_LIBRARY = re.compile(r"(?<![.\w])waitFor\w*\(|\bfind(?:All)?By\w+\(")
HOW_LONG = re.compile(r"\d[\d_]+|[A-Z_]+|\{.*\btimeout: .*\}", re.DOTALL)
PIECE_OF_TYPESCRIPT = re.compile(r"""//[^\n]*|(["'`])(?:\\.|(?!\1).)*\1|.""", re.DOTALL)


def typescript_arguments(text: str) -> list[str]:
    """The arguments of a call, from the text behind its parenthesis on; a comma at their end adds none."""
    found, depth = [""], 0
    for piece in PIECE_OF_TYPESCRIPT.finditer(text):
        depth += (piece[0] in "([{") - (piece[0] in ")]}")
        if depth < 0:
            break
        if piece[0] == "," and not depth:
            found.append("")
        elif not piece[0].startswith("//"):
            found[-1] += piece[0]
    return [argument.strip() for argument in found if argument.strip()]


def hasty_typescript(name: str, text: str) -> Iterator[str]:
    """Where a module of the clients' tests waits for the second that Vitest and Testing Library give it."""
    for wait in WAIT_IN_TYPESCRIPT.finditer(text):
        options = typescript_arguments(text[wait.end() :])[1:]
        if not any(map(HOW_LONG.fullmatch, options)):
            yield f"{name}:{text.count(chr(10), 0, wait.start()) + 1}"
    is_set = "@testing-library" not in text or "asyncUtilTimeout" in text
    if not is_set and (wait := WAIT_OF_TESTING_LIBRARY.search(text)):
        yield f"{name}:{text.count(chr(10), 0, wait.start()) + 1}"


def test_what_the_clients_wait_for_has_the_patience_of_a_busy_machine():
    clients = Path(__file__).parents[1] / "clients"
    modules = [path for part in ("test", "e2e") for path in clients.glob(f"*/{part}/**/*.ts*")]
    assert len(modules) > 50
    assert [place for path in modules for place in hasty_typescript(path.name, path.read_text())] == []


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("vi.waitFor(() => expect(said).toEqual([1, 2]));", ["it:1"]),
        ('vi.waitFor(() => expect(said).toBeCalledWith("a", 42));', ["it:1"]),
        ('vi.waitFor(() => {\n  expect(said).toBeCalledWith("a", 42);\n});', ["it:1"]),
        ("vi.waitFor(() => {\n  const all = said();\n  expect(all).toBe(1);\n}, WAIT_MS);", []),
        ("vi.waitFor(() => expect(said).toBe(')'), 100_000);", []),
        ("vi.waitUntil(() => said);", ["it:1"]),
        ("vi.waitUntil(() => said, { interval: 5, timeout: WAIT_MS });", []),
        ("const seen = vi.waitFor(said)\nexpect(seen).toBe(said, 42);", ["it:1"]),
        ("vi.waitFor(() => expect(said).toEqual([1, 2]), WAIT_MS);", []),
        ("vi.waitFor(\n  () => expect(said).toEqual([1, 2]),\n  100_000,\n);", []),
        ("expect\n  .poll(said, { timeout: 100_000 })\n  .toBe(1);", []),
        ("expect.poll(said).toBe(1);", ["it:1"]),
        ('from "@testing-library/react";\nawait waitFor(seen);', ["it:2"]),
        ('from "@testing-library/react";\nawait screen.findAllByRole("row");', ["it:2"]),
        ('from "@testing-library/react";\nconst row = await findByRole("row");', ["it:2"]),
        (
            'from "@testing-library/react";\nconfigure({ asyncUtilTimeout: 100_000 });\nawait waitFor(seen);',
            [],
        ),
    ],
)
def test_a_wait_in_typescript_that_says_not_how_long_is_found(text, places):
    assert list(hasty_typescript("it", text)) == places
