# ruff: noqa: SIM110, PERF401 (plain loops compile to C, generators do not)
"""JSON values: what is allowed in a document, equality, copies, sizes."""

from __future__ import annotations

from math import copysign, isfinite
from typing import Any

from gateway.ot.kernel.budget import CONTAINER_UNITS, NODE_UNITS, Budget, drawn
from gateway.ot.kernel.errors import INVALID, TOO_LARGE, KernelError

INTEGER_MAX = 2**53 - 1
# From here on a JSON writer puts an exponent, and a reader takes the number for a float.
EXPONENT_MIN = 1e21
DEPTH_UNBOUNDED = 1 << 30
UNBOUNDED_BYTES = 2**62
ABSENT: Any = object()  # stands for a member that isn't there


def check_string(text: str) -> str:
    """Refuse lone surrogates: no UTF-8 and so no wire form exists for them."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise KernelError(INVALID, "a string holds a lone surrogate, which has no UTF-8 form") from None
    return text


def check_integer(value: int) -> int:
    number = machine_integer(value)
    if number > INTEGER_MAX or number < -INTEGER_MAX:
        raise inexact()
    return value


def inexact() -> KernelError:
    text = "an integer lies beyond +-(2^53-1), where JSON readers lose digits; send it as a string"
    return KernelError(INVALID, text)


def machine_integer(value: int) -> int:
    """`value` as a number of the machine; one that isn't any as one beyond INTEGER_MAX."""
    try:
        number = value
    except OverflowError:
        return INTEGER_MAX + 1
    return number


def check_scalar(value: Any) -> Any:
    """A JSON scalar as it is stored: -0.0 becomes 0.

    JSON readers make floats of long integers, so a float that could have been one is refused too.
    """
    kind = type(value)
    if kind is str:
        return check_string(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return check_integer(value)
    if kind is not float:
        raise KernelError(INVALID, f"{kind.__name__} is not a JSON value")
    if not isfinite(value):
        raise KernelError(INVALID, "NaN and Infinity are not JSON numbers")
    if INTEGER_MAX < abs(value) < EXPONENT_MIN:
        raise inexact()
    return 0 if is_negative_zero(value) else value


def is_negative_zero(value: Any) -> bool:
    return type(value) is float and value == 0.0 and copysign(1.0, value) < 0.0


def check_value(value: Any, depth_max: int) -> Any:
    """`value` as it is stored, or KernelError."""
    return checked(value, depth_max, drawn(None))


def checked(value: Any, depth_max: int, budget: Budget) -> Any:
    """As `check_value`. Walks level by level, so depth costs no stack."""
    if type(value) is not dict and type(value) is not list:
        return check_scalar(value)
    level = [value]
    depth = 0
    rewrite = False
    while level:
        depth += 1
        if depth > depth_max:
            raise KernelError(TOO_LARGE, f"the value nests deeper than {depth_max} containers")
        below: list[Any] = []
        for container in level:
            budget.charge(CONTAINER_UNITS + NODE_UNITS * len(container))
            rewrite |= check_members(container, below)
        level = below
    return without_negative_zeros(value) if rewrite else value


def check_members(container: Any, below: list[Any]) -> bool:
    """Check one container's scalars, append its containers to `below`; is there a -0.0 in it?"""
    found = False
    if type(container) is dict:
        members: dict[Any, Any] = container
        for key, child in members.items():
            if type(key) is not str:
                raise KernelError(INVALID, "an object's member names must be strings")
            check_string(key)
            found |= check_child(child, below)
    else:
        items: list[Any] = container
        for child in items:
            found |= check_child(child, below)
    return found


def check_child(child: Any, below: list[Any]) -> bool:
    """A container goes to `below`; is it a -0.0?"""
    if type(child) is dict or type(child) is list:
        below.append(child)
        return False
    return check_scalar(child) is not child


def without_negative_zeros(value: Any) -> Any:
    if type(value) is dict:
        return {key: without_negative_zeros(child) for key, child in value.items()}
    if type(value) is list:
        return [without_negative_zeros(child) for child in value]
    return 0 if is_negative_zero(value) else value


def copy_value(value: Any) -> Any:
    """A deep copy; strings and numbers are shared, for they can't change."""
    if type(value) is dict:
        return {key: copy_value(child) for key, child in value.items()}
    if type(value) is list:
        return [copy_value(child) for child in value]
    return value


def equal(one: Any, other: Any) -> bool:
    """Equality of the `test` operation (RFC 6902 section 4.6): 1 and 1.0 are equal, 1 and true are not."""
    return same(one, other, False, drawn(None))


def identical(one: Any, other: Any) -> bool:
    """The same JSON but for the order of members: 1, 1.0 and true all differ."""
    return same(one, other, True, drawn(None))


def same(one: Any, other: Any, exact: bool, budget: Budget) -> bool:
    if one is other:
        return True
    budget.charge(NODE_UNITS)
    kind = type(one)
    if kind is dict:
        return type(other) is dict and same_members(one, other, exact, budget)
    if kind is list:
        return type(other) is list and same_items(one, other, exact, budget)
    if kind is str and type(other) is str:
        budget.charge(len(one) >> 3)
        return bool(one == other)
    if kind is type(other):
        return bool(one == other)
    if exact or (kind is not int and kind is not float):
        return False
    return (type(other) is int or type(other) is float) and one == other


def same_members(one: dict[str, Any], other: dict[str, Any], exact: bool, budget: Budget) -> bool:
    if len(one) != len(other):
        return False
    budget.charge(2 * NODE_UNITS * len(one))
    for key, child in one.items():
        if key not in other or not same(child, other[key], exact, budget):
            return False
    return True


def same_items(one: list[Any], other: list[Any], exact: bool, budget: Budget) -> bool:
    if len(one) != len(other):
        return False
    budget.charge(3 * len(one))
    for i in range(len(one)):
        if not same(one[i], other[i], exact, budget):
            return False
    return True


def measure(value: Any, depth_max: int, bytes_max: int) -> int:
    """About the bytes of `value` as compact JSON; TOO_LARGE when it passes a limit, which ends the walk."""
    return measured(value, depth_max, bytes_max, drawn(None))


def measured(value: Any, depth_max: int, bytes_max: int, budget: Budget) -> int:
    """As `measure`."""
    total = 0
    level = [value]
    if type(value) is not dict and type(value) is not list:
        total = within(scalar_bytes(value), bytes_max)
        budget.charge(NODE_UNITS + (total >> 2))
        level = []
    depth = 0
    while level:
        depth += 1
        if depth > depth_max:
            raise KernelError(TOO_LARGE, f"the value would nest deeper than {depth_max} containers")
        below: list[Any] = []
        for container in level:
            within(total + 2 * len(container), bytes_max)  # a value and a comma each, at the least
            budget.charge(2 * (CONTAINER_UNITS + NODE_UNITS * len(container)))
            size = own_bytes(container, below)
            budget.charge(size >> 2)
            total = within(total + size, bytes_max)
        level = below
    return total


def check_height(value: Any, height_max: int, budget: Budget) -> None:
    """TOO_LARGE where `value` nests deeper than `height_max` containers."""
    level = [value] if type(value) is dict or type(value) is list else []
    height = 0
    while level:
        height += 1
        if height > height_max:
            raise KernelError(TOO_LARGE, f"the value would nest deeper than {height_max} containers")
        below: list[Any] = []
        for container in level:
            budget.charge(CONTAINER_UNITS + NODE_UNITS * len(container))
            add_containers(container, below)
        level = below


def add_containers(container: Any, below: list[Any]) -> None:
    """The containers in a container go to `below`."""
    for child in container.values() if type(container) is dict else container:
        if type(child) is dict or type(child) is list:
            below.append(child)


def within(total: int, bytes_max: int) -> int:
    if total > bytes_max:
        raise KernelError(TOO_LARGE, f"the values would pass {bytes_max} bytes")
    return total


def own_bytes(container: Any, below: list[Any]) -> int:
    """Bytes of a container without the containers in it, which go to `below`."""
    total = 2 + len(container)
    if type(container) is dict:
        for key in container:
            total += string_bytes(key) + 1
        container = container.values()
    for child in container:
        if type(child) is dict or type(child) is list:
            below.append(child)
        else:
            total += scalar_bytes(child)
    return total


def scalar_bytes(value: Any) -> int:
    if type(value) is str:
        return string_bytes(value)
    if type(value) is int:
        return integer_bytes(value)
    if type(value) is float:
        return len(repr(value))
    return 4


def integer_bytes(value: int) -> int:
    """The digits of an integer, and its sign; faster than writing it."""
    number = machine_integer(value)
    if number > INTEGER_MAX or number < -INTEGER_MAX:
        return len(repr(value))
    size, rest = (1, number) if number >= 0 else (2, -number)
    bound = 10
    while rest >= bound:
        bound *= 10
        size += 1
    return size


def string_bytes(text: str) -> int:
    return 2 + (len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")))
