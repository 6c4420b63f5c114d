"""Text deltas: a tuple of components over code points.

A positive `int` retains, a negative one deletes, a `str` inserts. RemotePresence of one kind are merged, zero
lengths and a trailing retain are left out, the order of components is kept.
"""

from __future__ import annotations

from typing import Any

from gateway.ot.kernel.values import INVALID, KernelError, check_string

Delta = tuple[Any, ...]


def push(delta: list[Any], component: Any) -> None:
    """Append a component, merged with its neighbour when both are of one kind."""
    if not component:
        return
    if delta:
        last = delta[-1]
        if type(last) is str:
            if type(component) is str:
                delta[-1] = last + component
                return
        elif type(component) is int and (last > 0) == (component > 0):
            delta[-1] = last + component
            return
    delta.append(component)


def sealed(delta: list[Any]) -> Delta:
    """The normal form of a delta built with `push`."""
    if delta and type(delta[-1]) is int and delta[-1] > 0:
        delta.pop()
    return tuple(delta)


def difference(old: str, new: str) -> Delta:
    """The delta of the one span in which two strings differ."""
    limit = min(len(old), len(new))
    start = 0
    while start < limit and old[start] == new[start]:
        start += 1
    end = 0
    while end < limit - start and old[len(old) - 1 - end] == new[len(new) - 1 - end]:
        end += 1
    delta: list[Any] = []
    push(delta, start)
    push(delta, start + end - len(old))
    push(delta, new[start : len(new) - end])
    return sealed(delta)


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


def read_delta(value: Any, text: str, utf16: bool) -> Delta:
    """The delta of a `text` operation's value, such as `[5, "hi", {"d": 3}]`, against the present text."""
    if type(value) is not list:
        raise KernelError(INVALID, "a text operation's value must be an array of components")
    delta: list[Any] = []
    position = 0
    for component in value:
        if type(component) is str:
            push(delta, check_string(component))
            continue
        span = read_span(component, text, position, utf16)
        position += span
        push(delta, -span if type(component) is dict else span)
    return sealed(delta)


def read_span(component: Any, text: str, position: int, utf16: bool) -> int:
    """The length in code points of a retain or delete component."""
    length = component
    if type(component) is dict:
        if len(component) != 1 or "d" not in component:
            raise KernelError(INVALID, 'a text component is a number, a string or {"d": number}')
        length = component["d"]
    if type(length) is not int or length < 0:
        raise KernelError(INVALID, "a text component's length must be an integer, 0 or more")
    if utf16:
        return utf16_span(text, position, length)
    if length > len(text) - position:
        raise KernelError(INVALID, f"a text component reaches past the end of the text, {len(text)}")
    return length


def utf16_span(text: str, position: int, units: int) -> int:
    """How many code points from `position` on make up exactly `units` UTF-16 code units."""
    at = position
    while units > 0:
        if at == len(text):
            raise KernelError(INVALID, "a text component reaches past the end of the text")
        units -= 2 if text[at] > "\uffff" else 1
        at += 1
    if units < 0:
        raise KernelError(INVALID, "a text component ends inside a surrogate pair")
    return at - position


def write_delta(delta: Delta) -> list[Any]:
    """The wire form of a delta, in code points."""
    return [{"d": -part} if type(part) is int and part < 0 else part for part in delta]
