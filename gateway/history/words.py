"""What a change did, in words for people: `moved from 10:00 to 11:00`, `added ann@x.y to attendees`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from gateway.history.difference import Step, cut
from gateway.history.pointers import MISSING, parts, value_at

SHOWN_LENGTH = 60
PHRASES_MAX = 10
# Of the documents before and after that were replaced whole; what has more is told in short.
MEMBERS_MAX = 2000
# What an item of an array is called by, the first that it has.
LABELS = ("title", "name", "email", "user_id", "label", "id")
START, END = ["start_time"], ["end_time"]


def summary(done: Sequence[Step], undoes: int | None = None) -> str:
    """What a change did, step by step: phrases joined by semicolons, at most PHRASES_MAX.

    `undoes`: the version that it took back.
    """
    phrases = _phrases_of(done)
    if len(phrases) > PHRASES_MAX:
        phrases[PHRASES_MAX - 1 :] = [f"and {len(phrases) - PHRASES_MAX + 1} more"]
    text = "; ".join(phrases) or "changed nothing"
    return text if undoes is None else f"took back version {undoes}: {text}"


def _phrases_of(done: Sequence[Step]) -> list[str]:
    """All that the steps did, each thing once."""
    if not done:
        return []
    before, after = done[0].before, done[-1].after
    if before is None and after is not None:
        title = label(after)
        return [f"created {quoted(title)}" if title else "created it"]
    told = _moved(before, after)
    phrases = {told: None} if told else {}
    for step in done:
        for place, phrase in _phrases(step):
            if not (told and place in (START, END)):
                phrases[phrase] = None
    return list(phrases)


def _moved(before: Any, after: Any) -> str:
    """Both ends of an event were changed: it was moved."""
    times = [value_at(document, place) for place in (START, END) for document in (before, after)]
    instants = [instant(value) for value in times]
    if None in instants or instants[0] == instants[1] or instants[2] == instants[3]:
        return ""
    begin, began, end, ended = (found for found in instants if found is not None)
    one, other = between(begin, began)
    if end - begin == ended - began:
        return f"moved from {one} to {other}"
    return f"moved from {one}-{end:%H:%M} to {other}-{ended:%H:%M}"


def _phrases(step: Step) -> Iterator[tuple[list[str], str]]:
    """What one operation did: places and phrases."""
    place = parts(step.operation["path"])
    name = step.operation["op"]
    if not place:
        yield from _whole(step.before, step.after)
    elif name == "text":
        yield place, _edited(step, place)
    elif name == "move":
        yield place, _carried(step, place)
    else:
        yield from ((place, phrase) for phrase in _written(step.before, step.after, place))


def _whole(before: Any, after: Any) -> Iterator[tuple[list[str], str]]:
    """The root was written."""
    if after is None:
        yield [], "deleted it"
    elif isinstance(before, dict) and isinstance(after, dict) and len(before) + len(after) <= MEMBERS_MAX:
        for name in dict.fromkeys([*before, *after]):
            yield from (([name], phrase) for phrase in _written(before, after, [name]))
    else:
        yield [], "replaced it"


def _written(before: Any, after: Any, place: list[str]) -> Iterator[str]:
    """A member or an item that was added, replaced, counted or removed."""
    holder = value_at(before, place[:-1])
    if isinstance(holder, list):
        yield from _item(holder, value_at(after, place[:-1]), before, place)
        return
    old, new = value_at(before, place), value_at(after, place)
    if type(old) is type(new) and old == new:
        return
    what = named(before, place)
    if new is MISSING:
        yield f"removed {what}" if shown(old) == "" else f"removed {what} ({shown(old)})"
    elif old is MISSING:
        yield f"set {what} to {shown(new)}" if shown(new) else f"cleared {what}"
    else:
        one, other = _pair(old, new)
        yield f"changed {what} from {one} to {other}"


def _item(holder: list[Any], after: list[Any], before: Any, place: list[str]) -> Iterator[str]:
    """A slot of an array."""
    index = len(holder) if place[-1] == "-" else int(place[-1])
    where = named(before, place[:-1])
    if len(after) > len(holder):
        yield f"added {called(after[index])} to {where}"
    elif len(after) < len(holder):
        yield f"removed {called(holder[index])} from {where}"
    elif holder[index] != after[index]:
        yield f"replaced {called(holder[index])} by {called(after[index])} in {where}"


def _edited(step: Step, place: list[str]) -> str:
    """Text that was typed or deleted."""
    delta = step.operation["value"]
    added = [part for part in delta if isinstance(part, str)]
    removed = cut(value_at(step.before, place), delta)
    did = [f"added {quoted(text)}" for text in added] + [f"deleted {quoted(text)}" for text in removed]
    if len(added) == len(removed) == 1:
        did = [f"{quoted(removed[0])} became {quoted(added[0])}"]
    more = f" and {len(did) - 3} more" if len(did) > 3 else ""
    return f"edited {named(step.before, place)}: {', '.join(did[:3])}{more}"


def _carried(step: Step, place: list[str]) -> str:
    """A value that was moved."""
    source = parts(step.operation["from"])
    value = value_at(step.before, source)
    where = named(step.before, place[:-1])
    if source[:-1] == place[:-1] and isinstance(value_at(step.before, source[:-1]), list):
        return f"moved {called(value)} to place {int(place[-1]) + 1} of {where}"
    return f"moved {named(step.before, source)} to {'/'.join(place)}"


def named(document: Any, place: list[str]) -> str:
    """A place for people: `title`, `status of ann@x.y`."""
    if not place:
        return "the document"
    words = place[-1].replace("_", " ") or '""'
    holder = value_at(document, place[:-1])
    if isinstance(holder, list):
        return called(holder[int(place[-1])]) if value_at(document, place) is not MISSING else f"item {words}"
    return words if len(place) == 1 else f"{words} of {named(document, place[:-1])}"


def called(item: Any) -> str:
    """An item of an array, by its label or by itself."""
    return label(item) or shown(item) or "an item"


def label(value: Any) -> str:
    """What an object is called, or nothing."""
    if not isinstance(value, dict):
        return ""
    return next((cropped(value[name]) for name in LABELS if isinstance(value.get(name), str)), "")


def shown(value: Any) -> str:
    """A value in a sentence; nothing for null and what is empty."""
    if isinstance(value, str):
        found = instant(value)
        return (minute(found) if found else quoted(value)) if value else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and value:
        return ", ".join(called(item) for item in value[:3]) + (
            f" and {len(value) - 3} more" if len(value) > 3 else ""
        )
    return label(value) or (", ".join(list(value)[:3]) if isinstance(value, dict) else "")


def _pair(old: Any, new: Any) -> tuple[str, str]:
    """Two values of one place: the times alone where they lie on one day."""
    one, other = instant(old), instant(new)
    if one is not None and other is not None:
        return between(one, other)
    return shown(old) or "nothing", shown(new) or "nothing"


def between(one: datetime, other: datetime) -> tuple[str, str]:
    """Two instants, with their days where these differ."""
    shared = len("YYYY-MM-DD ") if one.date() == other.date() else 0
    return minute(one)[shared:], minute(other)[shared:]


def minute(found: datetime) -> str:
    """Day and time of an instant; its year has four digits, which strftime leaves to the system."""
    return found.replace(tzinfo=None).isoformat(" ", "minutes")


def instant(value: Any) -> datetime | None:
    """A string that is a date and time as in RFC 3339."""
    if not isinstance(value, str) or not 19 <= len(value) <= 40 or value[10:11] not in ("T", "t"):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def quoted(text: str) -> str:
    """In quotation marks, cropped."""
    return f'"{cropped(text)}"'


def cropped(text: str) -> str:
    """On one line, at most SHOWN_LENGTH characters."""
    line = " ".join(text[: 4 * SHOWN_LENGTH].split()) or text[:SHOWN_LENGTH]
    return line if len(line) <= SHOWN_LENGTH else line[: SHOWN_LENGTH - 1] + "…"
