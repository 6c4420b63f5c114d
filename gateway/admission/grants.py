"""Who may do what: the grants of a token, resolved for one resource (docs/reference/protocol.md#tokens).

A grant maps a pattern to a role. Patterns are `type:id`, `type:prefix*`, `type:*` and `*`; the most specific
one decides: the exact one, else the longest prefix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, cast

from gateway.ports import Role
from gateway.ports.resources import Resource
from gateway.ports.search import Scope

RESOURCE_TYPE: Final = r"[A-Za-z][A-Za-z0-9_-]{0,63}"
_PATTERN = re.compile(rf"\*|{RESOURCE_TYPE}:(?:[A-Za-z0-9._~:@-]{{1,128}}|[A-Za-z0-9._~:@-]{{0,127}}\*)")
_RANKS: Mapping[str, int] = {"viewer": 1, "editor": 2, "admin": 3}
_ROLES: Mapping[str, Role] = {role: cast("Role", role) for role in _RANKS}


class Grants:
    """Immutable; equal grants of different tokens share one object, for tens of thousands are resident."""

    __slots__ = ("_exact", "_prefix_lengths", "_prefixes")

    def __init__(self, roles: Iterable[tuple[str, Role]]) -> None:
        exact: dict[str, Role] = {}
        prefixes: dict[str, Role] = {}
        for pattern, role in roles:
            if pattern.endswith("*"):
                prefixes[pattern[:-1]] = role
            else:
                exact[pattern] = role
        self._exact = exact or _NO_ROLES
        self._prefixes = prefixes or _NO_ROLES
        self._prefix_lengths = _shared(tuple(sorted({len(prefix) for prefix in prefixes}, reverse=True)))

    def __reduce__(self) -> tuple[Callable[..., Grants], tuple[object, ...]]:
        """Another process shares equal grants too."""
        prefixes = {f"{prefix}*": role for prefix, role in self._prefixes.items()}
        return _parsed, ((*self._exact.items(), *prefixes.items()),)

    @property
    def scope(self) -> Scope:
        """What may be read at all."""
        return Scope(frozenset(self._exact), frozenset(self._prefixes))

    def role(self, resource: Resource) -> Role | None:
        """The role for this resource, or None where nothing is granted."""
        name = str(resource)
        role = self._exact.get(name)
        if role is not None:
            return role
        for length in self._prefix_lengths:
            role = self._prefixes.get(name[:length])
            if role is not None:
                return role
        return None


class CappedGrants:
    """What a token granted before some of it was taken back: of `caps`, each that covers a resource leaves at
    most its role there (None: nothing)."""

    __slots__ = ("_caps", "granted")

    def __init__(self, granted: Grants, caps: tuple[tuple[str, Role | None], ...]) -> None:
        self.granted = granted
        self._caps = caps

    @property
    def scope(self) -> Scope:
        """What may be read at all."""
        gone = [pattern for pattern, most in self._caps if most is None]
        names = frozenset(pattern for pattern in gone if not pattern.endswith("*"))
        prefixes = frozenset(pattern[:-1] for pattern in gone if pattern.endswith("*"))
        return self.granted.scope._replace(without=names, without_prefixes=prefixes)

    def role(self, resource: Resource) -> Role | None:
        """The role for this resource, or None where nothing is left."""
        role, name = self.granted.role(resource), str(resource)
        for pattern, most in self._caps:
            if role is not None and covers(pattern, name):
                role = most if most is None or _RANKS[most] < _RANKS[role] else role
        return role

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CappedGrants):
            return False
        return (self.granted, self._caps) == (other.granted, other._caps)

    def __hash__(self) -> int:
        return hash((self.granted, self._caps))


_NO_ROLES: dict[str, Role] = {}


@lru_cache(maxsize=256)
def _shared(lengths: tuple[int, ...]) -> tuple[int, ...]:
    return lengths


def parse_grants(grants: object) -> Grants:
    """Check the shape of a `grants` claim and make it usable.

    Raises ValueError saying which entry is wrong and what would be right. A wrong entry refuses the whole: to
    pass over `{"event:secret": "veiwer"}` would leave a wider `event:*` in force.
    """
    if type(grants) is not dict and not isinstance(grants, Mapping):
        raise ValueError('grants must be an object such as {"event:*": "viewer"}')
    try:
        return _parsed(tuple(grants.items()))
    except TypeError:  # a role that can't be hashed, so not a string
        raise ValueError("every role must be one of viewer, editor, admin") from None


@lru_cache(maxsize=4096)
def _parsed(items: tuple[tuple[str, str], ...]) -> Grants:
    return Grants([(pattern, _checked(pattern, role)) for pattern, role in items])


def _checked(pattern: object, role: object) -> Role:
    if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
        raise ValueError(f"{str(pattern)[:80]!r} is no grant: use type:id, type:prefix*, type:* or *")
    if not isinstance(role, str) or role not in _ROLES:
        raise ValueError(f"the role of {pattern!r} must be one of viewer, editor, admin")
    return _ROLES[role]


def covers(pattern: str, resource: str) -> bool:
    """Whether a grant's pattern is about this resource (`type:id`)."""
    return resource.startswith(pattern[:-1]) if pattern.endswith("*") else resource == pattern


def checked_grant(pattern: object, role: object) -> Role | None:
    """A grant's role, None for none; raises ValueError saying what would be right."""
    if role is None:
        _checked(pattern, "viewer")
        return None
    return _checked(pattern, role)


def role_of(text: object) -> Role | None:
    """The role of this name; None where there is none."""
    return _ROLES.get(text) if isinstance(text, str) else None


def at_least(role: Role | None, wanted: Role) -> bool:
    """Whether a role includes another one: viewer < editor < admin."""
    return role is not None and _RANKS[role] >= _RANKS[wanted]


def parse_grant_arguments(arguments: Iterable[str]) -> dict[str, str]:
    """`["event:*=editor"]` -> `{"event:*": "editor"}`, checked; raises ValueError."""
    grants = {}
    for argument in arguments:
        pattern, equals, role = argument.partition("=")
        if not equals:
            raise ValueError(f"{argument!r} is no grant: write PATTERN=ROLE, for example event:*=editor")
        grants[pattern.strip()] = role.strip()
    parse_grants(grants)
    return grants
