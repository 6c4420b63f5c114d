"""From a JSON Patch (RFC 6902 with `text` and `inc`) to kernel operations."""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import ENTRY_UNITS, NODE_UNITS, Budget, drawn
from gateway.ot.kernel.documents import (
    INC,
    INS,
    MOV,
    REM,
    SET,
    TST,
    TXT,
    Operation,
    apply,
    apply_one,
    check_test,
    edited,
    get,
    has,
    missing,
    own_of,
)
from gateway.ot.kernel.errors import CONFLICT, INVALID, TOO_LARGE, KernelError
from gateway.ot.kernel.longtext import LONG_LENGTH, long_text
from gateway.ot.kernel.paths import (
    Path,
    after_remove,
    format_pointer,
    is_own_place,
    parse_index,
    parse_pointer,
    shown,
    starts_with,
)
from gateway.ot.kernel.sets import (
    GROW,
    index_of,
    is_keyed,
    items_at,
    keeps_items,
    keys_of,
    last_taking,
    only_grows,
    replacing,
    touches_id,
)
from gateway.ot.kernel.spans import difference
from gateway.ot.kernel.text import apply_delta, components_of, read_delta
from gateway.ot.kernel.transform import CALLS_PER_PAIR, CALLS_SPARE, transform
from gateway.ot.kernel.values import (
    ABSENT,
    DEPTH_UNBOUNDED,
    INTEGER_MAX,
    check_height,
    check_integer,
    checked,
    copy_value,
    measured,
)


class Bounds:
    """What one lowering may use: depth, bytes that `copy` may add, and its budget of work.

    `own` is what `apply_one` may change in place; `index` the entry of the patch that is being lowered;
    `ends` how many operations there were after each entry so far, `lost` what entries took out of arrays that
    only grow.
    """

    def __init__(self, depth_max: int, copied_bytes_max: int, own: list[Any] | None, budget: Budget) -> None:
        self.depth_max = depth_max
        self.own = own
        self.copied_bytes_left = copied_bytes_max
        self.budget = budget
        self.index = 0
        self.ends: list[int] = []
        self.lost: list[tuple[int, Path, Any, list[Any]]] = []

    def end_entry(self, operations: list[Operation]) -> None:
        """The entry is lowered; the next one."""
        self.ends.append(len(operations))
        self.index += 1

    def stored(self, value: Any, depth: int) -> Any:
        """A value of the patch as it is stored so deep. What was committed (no bound) was checked then."""
        if self.depth_max >= DEPTH_UNBOUNDED:
            return value
        return checked(value, self.depth_max - depth, self.budget)

    def share(self) -> None:
        """A part of the document becomes an operation's value: it must not change in place any more."""
        if self.own is not None:
            self.own.clear()


def lower(
    document: Any,
    patch: Any,
    strategies: Any,
    depth_max: int,
    operations_max: int,
    copied_bytes_max: int,
    wants_document: bool,
    budget: Budget | None,
) -> tuple[list[Operation], Any]:
    """Operations of a patch, and the document after it where it is wanted (else one from on the way)."""
    check_patch(patch, operations_max)
    bounds = Bounds(depth_max, copied_bytes_max, own_of(patch), drawn(budget))
    return lower_patch(document, patch, strategies, bounds, wants_document)


def check_patch(patch: Any, operations_max: int) -> None:
    if type(patch) is not list:
        raise KernelError(INVALID, "a patch must be an array of operations")
    if len(patch) > operations_max:
        raise KernelError(TOO_LARGE, f"the patch has {len(patch)} operations, the limit is {operations_max}")


def lower_patch(
    document: Any, patch: list[Any], strategies: Any, bounds: Bounds, wants_document: bool
) -> tuple[list[Operation], Any]:
    operations: list[Operation] = []
    before = document
    try:
        if strategies and len(patch) > 1 and adds_to_sets(patch, strategies):
            lower_with_sets(document, patch, strategies, bounds, operations)
        else:
            document = lower_entries(document, patch, strategies, bounds, operations, wants_document)
        if bounds.lost:
            check_lost(before, operations, bounds)
    except KernelError as error:
        raise KernelError(error.code, error.message, bounds.index) from None
    return operations, document


def lower_entries(
    document: Any,
    patch: list[Any],
    strategies: Any,
    bounds: Bounds,
    operations: list[Operation],
    wants_document: bool,
) -> Any:
    """Append the operations of a patch; the document after it where it is wanted."""
    done = 0
    while bounds.index < len(patch):
        while done < len(operations):
            document = apply_one(document, operations[done], bounds.own, bounds.budget)
            done += 1
        if begins_texts(patch, bounds.index) and not may_lose(patch[bounds.index]["path"], strategies):
            document = lower_texts(document, patch, bounds, operations)
            done = len(operations)
        else:
            first = len(operations)
            lower_entry(document, checked_entry(patch, bounds.index), strategies, bounds, operations)
            find_lost(document, operations, first, strategies, bounds)
            bounds.end_entry(operations)
    while wants_document and done < len(operations):
        document = apply_one(document, operations[done], bounds.own, bounds.budget)
        done += 1
    return document


def checked_entry(patch: list[Any], index: int) -> dict[str, Any]:
    entry = patch[index]
    if type(entry) is not dict:
        raise KernelError(INVALID, "an operation must be an object")
    return entry


def begins_texts(patch: list[Any], index: int) -> bool:
    """Are this entry and the next one `text` operations at one path?"""
    if index + 1 == len(patch) or type(patch[index]) is not dict:
        return False
    pointer = patch[index].get("path")
    if type(pointer) is not str or not is_text_at(patch[index], pointer):
        return False
    return is_text_at(patch[index + 1], pointer)


def may_lose(pointer: str, strategies: Any) -> bool:
    """May an edit of a text take an id out of an array that only grows? Each is looked at then."""
    if not strategies:
        return False
    path = tuple(parse_pointer(pointer))
    for container, rule in strategies.items():
        if type(rule) is not str and rule[0] == GROW and touches_id(path, container, rule):
            return True
    return False


def is_text_at(entry: Any, pointer: str) -> bool:
    return type(entry) is dict and entry.get("op") == "text" and entry.get("path") == pointer


def lower_texts(document: Any, patch: list[Any], bounds: Bounds, operations: list[Operation]) -> Any:
    """Append the operations of several `text` entries at one path; the document after them.

    Where the text is long it is held in pieces meanwhile: copying it for each entry would cost their product.
    """
    budget = bounds.budget
    pointer: str = patch[bounds.index]["path"]
    path = locate(document, parse_pointer(pointer))
    text = text_at(document, path)
    long = long_text(text, budget) if len(text) > LONG_LENGTH else None
    while bounds.index < len(patch) and is_text_at(patch[bounds.index], pointer):
        entry = patch[bounds.index]
        budget.charge(ENTRY_UNITS)
        components = components_of(argument(entry), budget)
        if long is not None:
            delta = long.read_and_edit(components, is_utf16(entry), budget)
        else:
            delta = read_delta(components, text, is_utf16(entry), budget)
            budget.charge_text(text)
            text = apply_delta(text, delta)
        if delta:
            operations.append((TXT, path, delta))
        bounds.end_entry(operations)
    return edited(document, SET, path, text if long is None else long.whole(budget), bounds.own, budget)


def find_lost(
    document: Any, operations: list[Operation], first: int, strategies: Any, bounds: Bounds
) -> None:
    """Note what an entry takes out of arrays that only grow.

    `document` is the one before the entry, whose operations begin at `first`.
    """
    if not strategies:
        return
    for path, rule in strategies.items():
        if type(rule) is str or rule[0] != GROW or not has_path(document, path):
            continue
        fresh = operations[first:]
        if last_taking(fresh, path, rule, bounds.budget) < 0:
            continue
        after = apply(document, fresh, bounds.budget)
        items = get(document, path)
        if not keeps_items(items, items_at(after, path), rule, bounds.budget):
            bounds.share()
            bounds.lost.append((bounds.index, path, rule, items))


def check_lost(document: Any, operations: list[Operation], bounds: Bounds) -> None:
    """Refuse an entry that takes something out of an array that only grows, if the patch doesn't put it back.

    An `add` of an id that is there is written as `remove` and `add`. Deleting the whole document may.
    """
    after = apply(document, operations, bounds.budget)
    if after is None:
        return
    for index, path, rule, items in bounds.lost:
        if not keeps_items(items, items_at(after, path), rule, bounds.budget):
            bounds.index = index
            raise only_grows(path)


def has_path(document: Any, path: Path) -> bool:
    """Is there a node at `path`, whose container may be missing too?"""
    for token in path:
        if type(document) is not dict or token not in document:
            return False
        document = document[token]
    return True


def adds_to_sets(patch: list[Any], strategies: Any) -> bool:
    """May the patch add an item to an array that is a set, or replace one?"""
    sets = {format_pointer(path) for path, rule in strategies.items() if is_keyed(rule)}
    for entry in patch:
        if type(entry) is dict:
            pointer = entry.get("path")
            if type(pointer) is str and (pointer in sets or pointer[: pointer.rfind("/")] in sets):
                return True
    return False


def lower_with_sets(
    document: Any, patch: list[Any], strategies: Any, bounds: Bounds, operations: list[Operation]
) -> None:
    """Append the operations of a patch of several, where some arrays are sets.

    An `add` of an id that is there takes the old item's place, so the array is one shorter than in the
    author's view, on which the paths after it stand. `detour` leads from that view to what there really is;
    whatever is lowered on the view is carried past it.
    """
    others = {path: rule for path, rule in strategies.items() if not is_keyed(rule)}
    budget = bounds.budget
    real = document
    real_own: list[Any] = []
    detour: list[Operation] = []
    while bounds.index < len(patch):
        literal: list[Operation] = []
        lower_entry(document, checked_entry(patch, bounds.index), others, bounds, literal)
        find_lost(document, literal, 0, strategies, bounds)
        for operation in literal:
            document = apply_one(document, operation, bounds.own, budget)
        detour, carried, _ = transform(detour, literal, CALLS_PER_PAIR, CALLS_SPARE, budget)
        for operation in carried:
            known = known_item(real, operation, strategies, bounds)
            if known >= 0:
                detour = [*detour, *to_old_place(operation, known)]
                place = (*operation[1][:-1], known)
                fresh = [(REM, place), (INS, place, operation[2])]
            elif operation[0] == SET and is_keyed(strategies.get(operation[1])):
                fresh = []
                lower_set(real, operation[1], operation[2], strategies, bounds, fresh)
                if not is_whole(fresh, operation[1]):
                    detour = [*detour, *doubles(operation, strategies, bounds)]
            else:
                fresh = [operation]
            for item in fresh:
                real = apply_one(real, item, real_own, budget)
            operations.extend(fresh)
        bounds.end_entry(operations)


def is_whole(operations: list[Operation], path: Path) -> bool:
    """Is it one `set` of what is at `path`?"""
    return len(operations) == 1 and operations[0][0] == SET and len(operations[0][1]) == len(path)


def doubles(replaced: Operation, strategies: Any, bounds: Bounds) -> list[Operation]:
    """From an array as its author wrote it to what `replacing` makes of it, where an id is twice in it."""
    path = replaced[1]
    items: list[Any] = replaced[2]
    bounds.budget.charge(NODE_UNITS * len(items))
    keys: list[Any] = keys_of(items, strategies[path])  # type: ignore[assignment]  # `replacing` had them
    first: dict[Any, int] = {}
    for index, key in enumerate(keys):
        first.setdefault(key, index)
    again = [index for index, key in enumerate(keys) if first[key] < index]
    return [(REM, (*path, index)) for index in reversed(again)]


def known_item(document: Any, operation: Operation, strategies: Any, bounds: Bounds) -> int:
    """Where the item that an `ins` into a set would double stands, or -1."""
    if operation[0] != INS:
        return -1
    rule = strategies.get(operation[1][:-1])
    if not is_keyed(rule):
        return -1
    return index_of(get(document, operation[1][:-1]), operation[2], rule, bounds.budget)


def to_old_place(insertion: Operation, known: int) -> list[Operation]:
    """After a literal `ins`: without the old item, and the new one moved to where that stood."""
    container = insertion[1][:-1]
    at = insertion[1][-1]
    old = known + 1 if known >= at else known
    new = at - 1 if at > old else at
    if new == known:
        return [(REM, (*container, old))]
    gap = known if known < new else known + 1
    return [(REM, (*container, old)), (MOV, (*container, new), (*container, gap))]


def lower_entry(
    document: Any, entry: dict[str, Any], strategies: Any, bounds: Bounds, operations: list[Operation]
) -> None:
    """Append the operations of one entry of a patch."""
    given = entry.get("op")
    pointer = entry.get("path")
    if type(given) is not str:
        raise KernelError(INVALID, "an operation needs a string op")
    if type(pointer) is not str:
        raise KernelError(INVALID, "an operation needs a string path")
    name: str = given
    budget = bounds.budget
    budget.charge(ENTRY_UNITS)
    tokens = parse_pointer(pointer)
    if name == "replace":
        value = bounds.stored(argument(entry), len(tokens))
        lower_set(document, locate(document, tokens), value, strategies, bounds, operations)
    elif name == "add":
        value = bounds.stored(argument(entry), len(tokens))
        lower_add(document, locate_place(document, tokens), value, strategies, bounds, operations)
    elif name == "remove":
        if not tokens:
            raise KernelError(INVALID, "the root can't be removed by an edit")
        operations.append((REM, locate(document, tokens)))
    elif name == "test":
        operations.append(lower_test(document, tokens, entry, bounds))
    elif name == "move":
        lower_move(document, source_of(entry), tokens, bounds, operations)
    elif name == "copy":
        value = captured(get(document, locate(document, source_of(entry))), tokens, bounds)
        lower_add(document, locate_place(document, tokens), value, strategies, bounds, operations)
    elif name == "text":
        lower_text(document, locate(document, tokens), entry, budget, operations)
    elif name == "inc":
        lower_inc(document, locate(document, tokens), argument(entry), operations)
    else:
        raise KernelError(INVALID, f"unknown op {shown(name)}")


def argument(entry: dict[str, Any]) -> Any:
    value = entry.get("value", ABSENT)
    if value is ABSENT:
        name = entry["op"]
        raise KernelError(INVALID, f"{shown(name)} needs a value")
    return value


def source_of(entry: dict[str, Any]) -> list[str]:
    pointer = entry.get("from")
    if type(pointer) is not str:
        name = entry["op"]
        raise KernelError(INVALID, f"{shown(name)} needs a string from")
    return parse_pointer(pointer)


def locate(document: Any, tokens: list[Any]) -> Path:
    """The typed path of an existing node; `tokens` becomes it too."""
    descend(document, tokens, len(tokens))
    return tuple(tokens)


def descend(node: Any, path: list[Any], count: int) -> Any:
    """The node at the first `count` tokens of `path`, which become typed."""
    for depth in range(count):
        token = path[depth]
        if type(node) is dict:
            members: dict[str, Any] = node
            node = members.get(token, ABSENT)
            if node is ABSENT:
                raise missing(tuple(path[: depth + 1]))
        elif type(node) is list:
            items: list[Any] = node
            index = parse_index(token)
            if index < 0:
                raise KernelError(INVALID, f"{shown(token)} is not the index of an element")
            if index >= len(items):
                raise missing((*path[:depth], index))
            path[depth] = index
            node = items[index]
        else:
            raise missing(tuple(path[: depth + 1]))
    return node


def locate_place(document: Any, tokens: list[Any]) -> Path:
    """The typed path of where a value may be added: () is the root, an `int` at the end is a gap.

    `tokens` becomes it too.
    """
    if not tokens:
        return ()
    last = len(tokens) - 1
    parent = descend(document, tokens, last)
    if type(parent) is dict:
        return tuple(tokens)
    if type(parent) is not list:
        raise missing(tuple(tokens))
    token = tokens[last]
    size = len(parent)
    index = size if token == "-" else parse_index(token)
    if index < 0:
        raise KernelError(INVALID, f"{shown(token)} is not the index of a place in an array")
    if index > size:
        raise KernelError(INVALID, f"index {index} is past the end of the array, {size}")
    tokens[last] = index
    return tuple(tokens)


def lower_add(
    document: Any, place: Path, value: Any, strategies: Any, bounds: Bounds, operations: list[Operation]
) -> None:
    if not place or type(place[-1]) is str:
        lower_set(document, place, value, strategies, bounds, operations)
        return
    rule = strategies.get(place[:-1]) if strategies else None
    if is_keyed(rule):
        known = index_of(get(document, place[:-1]), value, rule, bounds.budget)
        if known >= 0:  # in place, so that it beats a concurrent remove
            place = (*place[:-1], known)
            operations.append((REM, place))
    operations.append((INS, place, value))


def lower_set(
    document: Any, path: Path, value: Any, strategies: Any, bounds: Bounds, operations: list[Operation]
) -> None:
    """A value for a member, an element or the root, as its field's strategy has it."""
    rule = strategies.get(path) if strategies else None
    if rule is None:
        operations.append((SET, path, value))
        return
    if rule == "text" and type(value) is str:
        old = get(document, path) if has(document, path) else None
        if type(old) is str:
            delta = difference(old, value, bounds.budget)
            if delta:
                operations.append((TXT, path, delta))
            return
    elif rule == "counter" and type(value) is int:
        old = get(document, path) if has(document, path) else None
        if type(old) is int and -INTEGER_MAX <= value - old <= INTEGER_MAX:
            if value != old:
                operations.append((INC, path, value - old))
            return
    elif is_keyed(rule) and type(value) is list:
        old = get(document, path) if has(document, path) else None
        fresh = replacing(path, old, value, rule, bounds.budget) if type(old) is list else None
        if fresh is not None:
            operations.extend(fresh)
            return
    operations.append((SET, path, value))


def lower_test(document: Any, tokens: list[str], entry: dict[str, Any], bounds: Bounds) -> Operation:
    value = bounds.stored(argument(entry), 0)
    try:
        path = locate(document, tokens)
    except KernelError as error:
        raise KernelError(CONFLICT, f"test failed: {error.message}") from None
    operation = (TST, path, value)
    check_test(document, operation, bounds.budget)
    return operation


def lower_move(
    document: Any, source_tokens: list[str], tokens: list[str], bounds: Bounds, operations: list[Operation]
) -> None:
    is_same = source_tokens == tokens
    is_into_itself = tokens[: len(source_tokens)] == source_tokens
    source = locate(document, source_tokens)
    if is_same:
        return
    if is_into_itself:
        raise KernelError(INVALID, "a node can't move into itself")
    value = get(document, source)
    if not tokens:
        bounds.share()
        operations.append((SET, (), value))
        return
    target = locate_target(document, tokens, source)
    place = after_remove(target, source)
    if len(place) > len(source):  # else it nests no deeper than it did
        check_height(value, bounds.depth_max - len(place), bounds.budget)
    if type(place[-1]) is not str:
        if not is_own_place(source, target):
            operations.append((MOV, source, target))
    elif starts_with(source, place):
        bounds.share()
        operations.append((SET, place, value))
    else:
        if has(document, target):
            operations.append((REM, target))
        operations.append((MOV, source, target))


def locate_target(document: Any, tokens: list[str], source: Path) -> Path:
    """The place that a move's `path` names, in coordinates from before it.

    `tokens` count from after the removal of `source`. The document without it needn't be made: only in the
    array that it leaves do they differ.
    """
    keys: list[Any] = []
    hole = len(source) - 1
    last = len(tokens) - 1
    is_beside = True  # do the tokens up to here lead to the source too?
    node = document
    for depth in range(last + 1):
        key: Any = tokens[depth]
        if type(node) is list:
            leaves = is_beside and depth == hole
            key = index_in(tokens, depth, len(node) - 1 if leaves else len(node))
            if leaves and key >= source[hole]:
                key += 1
        elif type(node) is not dict or (depth < last and key not in node):
            raise missing(tuple(tokens[: depth + 1]))
        is_beside = is_beside and depth < hole and key == source[depth]
        keys.append(key)
        if depth < last:
            node = node[key]
    return tuple(keys)


def index_in(tokens: list[str], depth: int, size: int) -> int:
    """The index that a token names in an array of `size`: of a place where it is the last one."""
    token = tokens[depth]
    is_place = depth == len(tokens) - 1
    index = size if is_place and token == "-" else parse_index(token)
    if index < 0:
        wanted = "a place in an array" if is_place else "an element"
        raise KernelError(INVALID, f"{shown(token)} is not the index of {wanted}")
    if is_place and index > size:
        raise KernelError(INVALID, f"index {index} is past the end of the array, {size}")
    if not is_place and index >= size:
        raise missing((*tokens[:depth], index))
    return index


def text_at(document: Any, path: Path) -> str:
    text = get(document, path)
    if type(text) is not str:
        raise KernelError(INVALID, f"text needs a string at {shown(format_pointer(path))}")
    return text


def is_utf16(entry: dict[str, Any]) -> bool:
    unit = entry.get("unit", "codepoint")
    if unit != "codepoint" and unit != "utf16":
        raise KernelError(INVALID, "the unit of a text operation is codepoint or utf16")
    return bool(unit == "utf16")


def lower_text(
    document: Any, path: Path, entry: dict[str, Any], budget: Budget, operations: list[Operation]
) -> None:
    text = text_at(document, path)
    delta = read_delta(components_of(argument(entry), budget), text, is_utf16(entry), budget)
    if delta:
        operations.append((TXT, path, delta))


def lower_inc(document: Any, path: Path, amount: Any, operations: list[Operation]) -> None:
    if type(amount) is not int:
        raise KernelError(INVALID, "inc needs an integer value")
    target = get(document, path)
    if type(target) is not int:
        raise KernelError(INVALID, f"inc needs an integer at {shown(format_pointer(path))}")
    check_integer(target + check_integer(amount))
    if amount:
        operations.append((INC, path, amount))


def captured(value: Any, tokens: list[str], bounds: Bounds) -> Any:
    """A copy for `copy`, charged to the patch: doubling can't outgrow the bound."""
    budget = bounds.budget
    before = budget.left
    size = measured(value, bounds.depth_max - len(tokens), bounds.copied_bytes_left, budget)
    bounds.copied_bytes_left -= size
    budget.charge(before - budget.left)  # copying walks it once more
    return copy_value(value)
