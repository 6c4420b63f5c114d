"""What connections hold of messages that have begun: who lets go of it, and when."""

from __future__ import annotations

from gateway.config import Config
from gateway.transport.unfinished import Unfinished


class Held:
    """A connection that counts how often it had to let go."""

    def __init__(self) -> None:
        self.gone = 0

    def let_go(self) -> None:
        self.gone += 1


def unfinished() -> Unfinished:
    return Unfinished(Config().with_(limits={"unfinished_bytes_max": 2000, "document_bytes_max": 64}).limits)


def test_up_to_the_bound_nobody_lets_go() -> None:
    held = unfinished()
    one, two = Held(), Held()
    held.hold(one, 1000)
    held.hold(two, 1000)
    held.hold(one, 1)
    held.hold(one, 1000)
    assert (one.gone, two.gone) == (0, 0)


def test_who_has_held_some_for_longest_lets_go_and_is_not_counted_any_more() -> None:
    held = unfinished()
    one, two, three = Held(), Held(), Held()
    held.hold(one, 100)
    held.hold(two, 1000)
    held.hold(one, 1000)
    held.hold(three, 1)
    assert (one.gone, two.gone, three.gone) == (1, 0, 0)
    held.hold(one, 0)
    held.hold(three, 1000)
    assert (one.gone, two.gone, three.gone) == (1, 0, 0)


def test_who_held_nothing_in_between_is_the_newest() -> None:
    held = unfinished()
    one, two = Held(), Held()
    held.hold(one, 1000)
    held.hold(two, 1000)
    held.hold(one, 0)
    held.hold(one, 1001)
    assert (one.gone, two.gone) == (0, 1)


def test_as_many_let_go_as_it_takes_the_last_one_too() -> None:
    held = unfinished()
    one, two = Held(), Held()
    held.hold(one, 1000)
    held.hold(two, 2001)
    assert (one.gone, two.gone) == (1, 1)
    held.hold(one, 2000)
    assert one.gone == 1
