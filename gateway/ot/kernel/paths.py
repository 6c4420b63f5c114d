"""JSON Pointers (RFC 6901), typed paths, and how a concurrent operation moves them.

A typed path is a tuple in which an `int` is an array index and a `str` an object's key. The last component
of an insertion's place is a *gap*: the index before which something will stand.
"""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import POINTER_UNITS, Budget
from gateway.ot.kernel.errors import INVALID, KernelError
from gateway.ot.kernel.values import check_string

Path = tuple[Any, ...]

INDEX_DIGITS_MAX = 15


def parse_pointer(pointer: str) -> list[str]:
    """The tokens of a JSON Pointer, unescaped; KernelError when it isn't one."""
    if not pointer:
        return []
    if pointer[0] != "/":
        raise KernelError(INVALID, f"path {shown(pointer)} must be empty or start with /")
    check_string(pointer)
    tokens = pointer[1:].split("/")
    if "~" in pointer:
        return [unescape(token) for token in tokens]
    return tokens


def unescape(token: str) -> str:
    parts = token.split("~")
    for part in parts[1:]:
        if not part or part[0] not in "01":
            raise KernelError(INVALID, f"in a path, ~ must be followed by 0 or 1: {shown(token)}")
    return token.replace("~1", "/").replace("~0", "~")


def shown(text: str) -> str:
    """`text` for an error message, bounded."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def parse_index(token: str) -> int:
    """An array index, ASCII `0|[1-9][0-9]*`, or -1 when the token is none."""
    size = len(token)
    if size == 0 or size > INDEX_DIGITS_MAX or (token[0] == "0" and size > 1):
        return -1
    index = 0
    for character in token:
        digit = ord(character) - 48
        if digit < 0 or digit > 9:
            return -1
        index = 10 * index + digit
    return index


def format_pointer(path: Path) -> str:
    """The JSON Pointer of a typed path."""
    pointer = ""
    for token in path:
        text = token if type(token) is str else str(token)
        if "~" in text or "/" in text:
            text = text.replace("~", "~0").replace("/", "~1")
        pointer += "/" + text
    return pointer


def written_pointer(path: Path, budget: Budget) -> str:
    """The same, of what is stored and sent: a concurrent move may have made many paths long."""
    size = 0
    for token in path:
        if type(token) is str:
            size += len(token)
    budget.charge(POINTER_UNITS * size)
    return format_pointer(path)


def starts_with(path: Path, prefix: Path) -> bool:
    """Is `path` at or under `prefix`?"""
    return len(path) >= len(prefix) and shares(path, prefix, len(prefix))


def shares(path: Path, other: Path, depth: int) -> bool:
    """Are the first `depth` components equal? Both paths must have as many."""
    for i in range(depth):
        one = path[i]
        another = other[i]
        if one is not another and one != another:
            return False
    return True


def is_same_place(path: Path, other: Path) -> bool:
    """Are two paths equal? Faster than the comparison of tuples."""
    return path is other or (len(path) == len(other) and shares(path, other, len(path)))


def is_inside(place: Path, node: Path) -> bool:
    """Is the container of `place` at or under `node`?"""
    return len(place) > len(node) and starts_with(place, node)


def with_component(path: Path, depth: int, component: int) -> Path:
    components = list(path)
    components[depth] = component
    return tuple(components)


def after_insert(path: Path, at: Path, stays: bool) -> Path:
    """`path` after an insertion at the gap `at`. `stays`: `path` is a place that keeps left on a tie."""
    depth = len(at) - 1
    if len(path) <= depth or not shares(path, at, depth):
        return path
    index: int = path[depth]
    gap: int = at[depth]
    if index < gap or (index == gap and stays and len(path) == depth + 1):
        return path
    return with_component(path, depth, index + 1)


def after_remove(path: Path, removed: Path) -> Path:
    """`path`, which isn't inside what goes, after the removal of the node `removed`."""
    depth = len(removed) - 1
    if depth < 0 or type(removed[depth]) is str:
        return path
    if len(path) <= depth or not shares(path, removed, depth):
        return path
    index: int = path[depth]
    gone: int = removed[depth]
    return with_component(path, depth, index - 1) if index > gone else path


def after_move(path: Path, source: Path, target: Path, is_place: bool, stays: bool) -> Path:
    """`path` after a move. `is_place`: its last component is a gap or a member to come, not a node."""
    if is_inside(path, source) if is_place else starts_with(path, source):
        return after_remove(target, source) + path[len(source) :]
    shifted = after_remove(path, source)
    depth = len(target) - 1
    if type(target[depth]) is str or len(path) <= depth or not shares(path, target, depth):
        return shifted
    # Both shifts compare with the index from before the move, each at its own depth.
    index: int = path[depth]
    gap: int = target[depth]
    if index < gap or (index == gap and is_place and stays and len(path) == depth + 1):
        return shifted
    return with_component(shifted, depth, shifted[depth] + 1)


def is_own_place(source: Path, target: Path) -> bool:
    """Would a move from `source` to `target` leave everything where it is?"""
    depth = len(source) - 1
    if len(target) != len(source) or not shares(source, target, depth):
        return False
    if target[depth] == source[depth]:
        return True
    return type(target[depth]) is int and target[depth] == source[depth] + 1
