"""From a JSON Patch (RFC 6902 with `text` and `inc`) to kernel operations."""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.documents import (
    INC,
    INS,
    MOV,
    REM,
    SET,
    TST,
    TXT,
    Operation,
    apply_one,
    check_test,
    get,
    has,
    missing,
    own_of,
)
from gateway.ot.kernel.paths import (
    Path,
    before_remove,
    format_pointer,
    is_own_place,
    parse_index,
    parse_pointer,
    shown,
    starts_with,
)
from gateway.ot.kernel.text import difference, read_delta
from gateway.ot.kernel.transform import CALLS_PER_PAIR, CALLS_SPARE, transform
from gateway.ot.kernel.values import (
    ABSENT,
    CONFLICT,
    INTEGER_MAX,
    INVALID,
    TOO_LARGE,
    UNBOUNDED_BYTES,
    KernelError,
    check_integer,
    check_value,
    copy_value,
    equal,
    measure,
)

# Slots of containers that a patch may have copied on its way, for each byte that it may add by `copy`. An
# edit copies the containers on its path: a thousand edits of one huge array would keep the loop for seconds.
SLOTS_PER_BYTE = 5
# Comparing an item's id costs as much as copying so many slots.
SLOTS_PER_COMPARISON = 8
# And carrying an operation past another one, so many.
SLOTS_PER_TRANSFORM = 16


class Bounds:
    """What one lowering may use: depth, bytes that `copy` may add, slots of containers to copy.

    `own` is what `apply_one` may change in place.
    """

    def __init__(self, depth_max: int, copied_bytes_max: int, own: list[Any] | None) -> None:
        self.depth_max = depth_max
        self.own = own
        self.copied_bytes_left = copied_bytes_max
        self.slots_left = SLOTS_PER_BYTE * min(copied_bytes_max, 1 << 60)

    def charge(self, slots: int) -> None:
        self.slots_left -= slots
        if self.slots_left < 0:
            raise KernelError(TOO_LARGE, "the patch edits large containers too often: send it in parts")

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
) -> tuple[list[Operation], Any]:
    """Operations of a patch, and the document after it where it is wanted (else one from on the way)."""
    if type(patch) is not list:
        raise KernelError(INVALID, "a patch must be an array of operations")
    if len(patch) > operations_max:
        raise KernelError(TOO_LARGE, f"the patch has {len(patch)} operations, the limit is {operations_max}")
    bounds = Bounds(depth_max, copied_bytes_max, own_of(patch))
    if strategies and len(patch) > 1 and has_sets(strategies):
        return lower_with_sets(document, patch, strategies, bounds), document
    operations: list[Operation] = []
    index = 0
    done = 0
    try:
        for entry in patch:
            if type(entry) is not dict:
                raise KernelError(INVALID, "an operation must be an object")
            while done < len(operations):
                document = apply_one(document, operations[done], bounds.own)
                done += 1
            lower_entry(document, entry, strategies, bounds, operations)
            index += 1
        while wants_document and done < len(operations):
            document = apply_one(document, operations[done], bounds.own)
            done += 1
    except KernelError as error:
        raise KernelError(error.code, error.message, index) from None
    return operations, document


def has_sets(strategies: Any) -> bool:
    return any(rule[0] == SET for rule in strategies.values())


def lower_with_sets(document: Any, patch: list[Any], strategies: Any, bounds: Bounds) -> list[Operation]:
    """The operations of a patch of several, where some arrays are sets.

    An `add` of an id that is there takes the old item's place, so the array is one shorter than in the
    author's view, on which the paths after it stand. `detour` leads from that view to what there really is;
    whatever is lowered on the view is carried past it.
    """
    others = {path: rule for path, rule in strategies.items() if rule[0] != SET}
    real = document
    operations: list[Operation] = []
    detour: list[Operation] = []
    for index, entry in enumerate(patch):
        literal: list[Operation] = []
        try:
            if type(entry) is not dict:
                raise KernelError(INVALID, "an operation must be an object")
            lower_entry(document, entry, others, bounds, literal)
            for operation in literal:
                document = apply_one(document, operation, None)
            bounds.charge(SLOTS_PER_TRANSFORM * len(detour))
        except KernelError as error:
            raise KernelError(error.code, error.message, index) from None
        detour, carried, _ = transform(detour, literal, CALLS_PER_PAIR, CALLS_SPARE)
        for operation in carried:
            known = known_item(real, operation, strategies, bounds)
            if known >= 0:
                detour = [*detour, *to_old_place(operation, known)]
                place = (*operation[1][:-1], known)
                fresh = [(REM, place), (INS, place, operation[2])]
            else:
                fresh = [operation]
            for item in fresh:
                real = apply_one(real, item, None)
            operations.extend(fresh)
    return operations


def known_item(document: Any, operation: Operation, strategies: Any, bounds: Bounds) -> int:
    """Where the item that an `ins` into a set would double stands, or -1."""
    if operation[0] != INS:
        return -1
    rule = strategies.get(operation[1][:-1])
    if rule is None or rule[0] != SET:
        return -1
    items = get(document, operation[1][:-1])
    bounds.charge(SLOTS_PER_COMPARISON * len(items))
    return index_of(items, operation[2], rule)


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
    tokens = parse_pointer(pointer)
    if name == "replace":
        value = check_value(argument(entry), bounds.depth_max - len(tokens))
        lower_set(document, locate(document, tokens, bounds), value, strategies, operations)
    elif name == "add":
        value = check_value(argument(entry), bounds.depth_max - len(tokens))
        lower_add(document, locate_place(document, tokens, bounds), value, strategies, bounds, operations)
    elif name == "remove":
        if not tokens:
            raise KernelError(INVALID, "the root can't be removed by an edit")
        operations.append((REM, locate(document, tokens, bounds)))
    elif name == "test":
        operations.append(lower_test(document, tokens, entry, bounds))
    elif name == "move":
        lower_move(document, source_of(entry), tokens, bounds, operations)
    elif name == "copy":
        value = captured(get(document, locate(document, source_of(entry), bounds)), tokens, bounds)
        lower_add(document, locate_place(document, tokens, bounds), value, strategies, bounds, operations)
    elif name == "text":
        lower_text(document, locate(document, tokens, bounds), entry, operations)
    elif name == "inc":
        lower_inc(document, locate(document, tokens, bounds), argument(entry), operations)
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


def locate(document: Any, tokens: list[Any], bounds: Bounds) -> Path:
    """The typed path of an existing node; `tokens` becomes it too."""
    descend(document, tokens, len(tokens), bounds)
    return tuple(tokens)


def descend(node: Any, path: list[Any], count: int, bounds: Bounds) -> Any:
    """The node at the first `count` tokens of `path`, which become typed."""
    for depth in range(count):
        token = path[depth]
        if type(node) is dict:
            members: dict[str, Any] = node
            bounds.charge(len(members))
            node = members.get(token, ABSENT)
            if node is ABSENT:
                raise missing(tuple(path[: depth + 1]))
        elif type(node) is list:
            items: list[Any] = node
            bounds.charge(len(items))
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


def locate_place(document: Any, tokens: list[Any], bounds: Bounds) -> Path:
    """The typed path of where a value may be added: () is the root, an `int` at the end is a gap.

    `tokens` becomes it too.
    """
    if not tokens:
        return ()
    last = len(tokens) - 1
    parent = descend(document, tokens, last, bounds)
    if type(parent) is dict:
        return tuple(tokens)
    if type(parent) is not list:
        raise missing(tuple(tokens))
    token = tokens[last]
    size = len(parent)
    bounds.charge(size)
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
        lower_set(document, place, value, strategies, operations)
        return
    rule = strategies.get(place[:-1]) if strategies else None
    if rule is not None and rule[0] == SET:
        items = get(document, place[:-1])
        bounds.charge(SLOTS_PER_COMPARISON * len(items))
        known = index_of(items, value, rule)
        if known >= 0:  # in place, so that it beats a concurrent remove
            place = (*place[:-1], known)
            operations.append((REM, place))
    operations.append((INS, place, value))


def index_of(items: list[Any], value: Any, rule: Any) -> int:
    """Where in a set an item with the same id stands, or -1."""
    key = item_id(value, rule)
    if key is None:
        return -1
    for index, item in enumerate(items):
        if equal(item_id(item, rule), key):
            return index
    return -1


def item_id(item: Any, rule: Any) -> Any:
    """The id of a set's item: the item itself, or its member `rule[1]`; None where it has none."""
    if len(rule) < 2 or rule[1] is None:
        return item
    return item.get(rule[1]) if type(item) is dict else None


def lower_set(document: Any, path: Path, value: Any, strategies: Any, operations: list[Operation]) -> None:
    """A value for a member, an element or the root, as its field's strategy has it."""
    rule = strategies.get(path) if strategies else None
    if rule is None:
        operations.append((SET, path, value))
        return
    if rule == "text" and type(value) is str:
        old = get(document, path) if has(document, path) else None
        if type(old) is str:
            delta = difference(old, value)
            if delta:
                operations.append((TXT, path, delta))
            return
    elif rule == "counter" and type(value) is int:
        old = get(document, path) if has(document, path) else None
        if type(old) is int and -INTEGER_MAX <= value - old <= INTEGER_MAX:
            if value != old:
                operations.append((INC, path, value - old))
            return
    operations.append((SET, path, value))


def lower_test(document: Any, tokens: list[str], entry: dict[str, Any], bounds: Bounds) -> Operation:
    value = check_value(argument(entry), bounds.depth_max)
    try:
        path = locate(document, tokens, bounds)
    except KernelError as error:
        raise KernelError(CONFLICT, f"test failed: {error.message}") from None
    operation = (TST, path, value)
    check_test(document, operation)
    return operation


def lower_move(
    document: Any, source_tokens: list[str], tokens: list[str], bounds: Bounds, operations: list[Operation]
) -> None:
    is_same = source_tokens == tokens
    is_into_itself = tokens[: len(source_tokens)] == source_tokens
    source = locate(document, source_tokens, bounds)
    if is_same:
        return
    if is_into_itself:
        raise KernelError(INVALID, "a node can't move into itself")
    value = get(document, source)
    if not tokens:
        bounds.share()
        operations.append((SET, (), value))
        return
    place = locate_place(apply_one(document, (REM, source), None), tokens, bounds)
    measure(value, bounds.depth_max - len(place), UNBOUNDED_BYTES)
    target = before_remove(place, source)
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


def lower_text(document: Any, path: Path, entry: dict[str, Any], operations: list[Operation]) -> None:
    text = get(document, path)
    if type(text) is not str:
        raise KernelError(INVALID, f"text needs a string at {shown(format_pointer(path))}")
    unit = entry.get("unit", "codepoint")
    if unit != "codepoint" and unit != "utf16":
        raise KernelError(INVALID, "the unit of a text operation is codepoint or utf16")
    delta = read_delta(argument(entry), text, unit == "utf16")
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
    bounds.copied_bytes_left -= measure(value, bounds.depth_max - len(tokens), bounds.copied_bytes_left)
    return copy_value(value)
