"""What was taken back before its time: tokens, all tokens of a user, or some of what was granted to a user.

Each is about tokens that were issued up to a moment (`iat`, whole seconds; a token without it counts as old):
a token that the user gets afterwards is accepted, and grants what it says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, get_args

from gateway.admission.grants import CappedGrants, Grants
from gateway.errors import Refusal
from gateway.ports import Role

if TYPE_CHECKING:
    from gateway.admission.tokens import TokenIdentity

logger = logging.getLogger(__name__)

Kind = Literal["token", "user", "grant", "connections"]
REVOKED = "The token was revoked; sign in again for a new one."


class Revocation(NamedTuple):
    """One of them. `subject` is a token's id, or a user's.

    `grant`: in tokens of the user, `role` is the most that is left where `pattern` matches (None: nothing).
    `connections`: not of tokens, but the user's connections up to then. `expires_at`: kept until, Unix s.
    """

    kind: Kind
    subject: str
    issued_until: float
    pattern: str = ""
    role: Role | None = None
    expires_at: float | None = None
    reason: str = ""
    revoked_by: str = ""

    @property
    def id(self) -> str:
        """What names it: a later one of the same takes its place."""
        return " ".join(filter(None, (self.kind, self.pattern, self.subject)))

    def fields(self) -> dict[str, Any]:
        """As it is stored."""
        return self._asdict()

    @classmethod
    def read(cls, fields: dict[str, Any]) -> Revocation:
        """What `fields` made; members of a later release are passed over."""
        return cls(**{name: value for name, value in fields.items() if name in cls._fields})


class Revocations:
    """Those that are in force. Empty ones are false."""

    def __init__(self, found: Iterable[Revocation] = ()) -> None:
        self._tokens: set[str] = set()
        self._users: dict[str, float] = {}
        self._grants: dict[str, list[Revocation]] = {}
        self._connections: dict[str, float] = {}
        for revocation in found:
            if revocation.kind in get_args(Kind):
                self._add(revocation)
            else:
                logger.warning("a revocation of a later release isn't in force here: %s", revocation.id)

    def _add(self, revocation: Revocation) -> None:
        subject = revocation.subject
        if revocation.kind == "token":
            self._tokens.add(subject)
        elif revocation.kind == "user":
            self._users[subject] = revocation.issued_until
        elif revocation.kind == "grant":
            self._grants.setdefault(subject, []).append(revocation)
        else:
            self._connections[subject] = revocation.issued_until

    def __bool__(self) -> bool:
        return bool(self._tokens or self._users or self._grants)

    def applied(self, identity: TokenIdentity) -> TokenIdentity:
        """The identity with what is left to it; raises Refusal UNAUTHENTICATED where that is nothing."""
        until_s = self._users.get(identity.user_id)
        revoked = until_s is not None and identity.issued_at <= until_s
        if revoked or identity.token_id in self._tokens:
            raise Refusal("UNAUTHENTICATED", REVOKED)
        caps = tuple(
            (one.pattern, one.role)
            for one in self._grants.get(identity.user_id, ())
            if identity.issued_at <= one.issued_until
        )
        if not caps:
            return identity
        return identity._replace(grants=CappedGrants(cast(Grants, identity.grants), caps))

    def ends(self, user_id: str, opened_s: float) -> bool:
        """Whether a connection of this user that began then is to be closed."""
        until_s = self._connections.get(user_id)
        return until_s is not None and opened_s <= until_s
