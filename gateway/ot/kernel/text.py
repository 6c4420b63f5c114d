"""Text deltas: a tuple of components over code points.

A positive `int` retains, a negative one deletes, a `str` inserts. Neighbours of one kind are merged, zero
lengths and a trailing retain are left out, the order of components is kept.
"""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.budget import COMPONENT_UNITS, Budget
from gateway.ot.kernel.errors import INVALID, KernelError
from gateway.ot.kernel.values import check_string

Delta = tuple[Any, ...]

# Beyond any text's length: what a component asks for is cut to it, so that lengths are machine integers.
LENGTH_MAX = 2**60


def push(delta: list[Any], component: Any) -> None:
    """Append a component; a number is merged with its neighbour where both are of one kind."""
    if not component:
        return
    if delta and type(component) is int:
        last = delta[-1]
        if type(last) is int and (last > 0) == (component > 0):
            delta[-1] = last + component
            return
    delta.append(component)


def sealed(delta: list[Any]) -> Delta:
    """The normal form of a delta built with `push`."""
    if delta and type(delta[-1]) is int and delta[-1] > 0:
        delta.pop()
    for i in range(1, len(delta)):
        if type(delta[i]) is str and type(delta[i - 1]) is str:
            return tuple(with_joined_texts(delta))
    return tuple(delta)


def with_joined_texts(delta: list[Any]) -> list[Any]:
    """Insertions beside each other as one; joined at once, or many would cost their square."""
    joined: list[Any] = []
    texts: list[str] = []
    for component in delta:
        if type(component) is str:
            texts.append(component)
            continue
        if texts:
            joined.append("".join(texts))
            texts = []
        joined.append(component)
    if texts:
        joined.append("".join(texts))
    return joined


def apply_delta(text: str, delta: Delta) -> str:
    """The text after `delta`; KernelError when it reaches past the end."""
    parts: list[str] = []
    position = 0
    for component in delta:
        if type(component) is str:
            parts.append(component)
        elif component > 0:
            parts.append(text[position : position + component])
            position += component
        else:
            position -= component
    if position > len(text):
        raise KernelError(INVALID, f"the text ends at {len(text)}, the delta reaches {position}")
    parts.append(text[position:])
    return "".join(parts)


def invert_delta(text: str, delta: Delta) -> Delta:
    """The delta that leads back to `text`."""
    inverse: list[Any] = []
    position = 0
    for component in delta:
        if type(component) is str:
            push(inverse, -len(component))
        elif component > 0:
            push(inverse, component)
            position += component
        else:
            push(inverse, text[position : position - component])
            position -= component
    return sealed(inverse)


def transform_delta(delta: Delta, other: Delta, later: bool) -> Delta:
    """`delta` against a concurrent one; on a tie the earlier one's insertion stands left."""
    result: list[Any] = []
    index = 0  # of the component of `delta` that is being used up
    used = 0  # how much of it is
    for component in other:
        if type(component) is str:
            if not later and index < len(delta) and type(delta[index]) is str:
                push(result, delta[index])
                index += 1
            push(result, len(component))
            continue
        left: int = component if component > 0 else -component
        while left > 0 and index < len(delta):
            own = delta[index]
            if type(own) is str:
                push(result, own)
                index += 1
                continue
            span: int = (own if own > 0 else -own) - used
            taken = span if span < left else left
            if component > 0:
                push(result, taken if own > 0 else -taken)
            left -= taken
            used += taken
            if taken == span:
                index += 1
                used = 0
        if component > 0:
            push(result, left)
    return transform_rest(delta, result, index, used)


def transform_rest(delta: Delta, result: list[Any], index: int, used: int) -> Delta:
    """What of `delta` lies past the other delta's end."""
    if index < len(delta):
        own = delta[index]
        if used:
            own = own - used if own > 0 else own + used
        push(result, own)
        for component in delta[index + 1 :]:
            push(result, component)
    return sealed(result)


def components_of(value: Any, budget: Budget) -> list[Any]:
    """The components of a `text` operation's value, such as `[5, "hi", {"d": 3}]`."""
    if type(value) is not list:
        raise KernelError(INVALID, "a text operation's value must be an array of components")
    budget.charge(COMPONENT_UNITS * len(value))
    return value


def read_delta(components: list[Any], text: str, utf16: bool, budget: Budget) -> Delta:
    """The delta of a `text` operation's components against the present text."""
    delta: list[Any] = []
    read_components(components, 0, text, 0, utf16, delta, budget)
    return sealed(delta)


def read_components(
    components: list[Any], first: int, text: str, position: int, utf16: bool, delta: list[Any], budget: Budget
) -> None:
    """Push the components from `first` on to `delta`; they begin at `position` of `text`."""
    for i in range(first, len(components)):
        component = components[i]
        if type(component) is str:
            push(delta, check_string(component))
            continue
        length = length_of(component)
        if utf16 and not text.isascii():
            budget.charge(2 * min(length, len(text) - position))
            span = utf16_span(text, position, length)
        else:
            span = codepoint_span(text, position, length)
        position += span
        push(delta, -span if type(component) is dict else span)


def length_of(component: Any) -> int:
    """The length, in the operation's unit, of a component that retains or deletes."""
    length = component
    if type(component) is dict:
        if len(component) != 1 or "d" not in component:
            raise KernelError(INVALID, 'a text component is a number, a string or {"d": number}')
        length = component["d"]
    if type(length) is not int or length < 0:
        raise KernelError(INVALID, "a text component's length must be an integer, 0 or more")
    return min(length, LENGTH_MAX)


def past_the_end(length: int) -> KernelError:
    return KernelError(INVALID, f"a text component reaches past the end of the text, {length}")


def codepoint_span(text: str, position: int, length: int) -> int:
    if length > len(text) - position:
        raise past_the_end(len(text))
    return length


def utf16_span(text: str, position: int, units: int) -> int:
    """How many code points from `position` on make up exactly `units` UTF-16 code units."""
    at = position
    while units > 0:
        if at == len(text):
            raise past_the_end(len(text))
        units -= 2 if text[at] > "\uffff" else 1
        at += 1
    if units < 0:
        raise KernelError(INVALID, "a text component ends inside a surrogate pair")
    return at - position


def write_delta(delta: Delta) -> list[Any]:
    """The wire form of a delta, in code points."""
    return [{"d": -part} if type(part) is int and part < 0 else part for part in delta]
