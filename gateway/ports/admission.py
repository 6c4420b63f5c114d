"""What the core asks of admission: who somebody is, what documents look like, how fast a user may edit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from gateway.errors import Refusal
from gateway.ports.resources import Resource
from gateway.ports.search import Scope

Role = Literal["viewer", "editor", "admin"]


class Person(Protocol):
    """Who a token speaks for, as others see it."""

    @property
    def user_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def avatar_url(self) -> str: ...


class Identity(Person, Protocol):
    """A verified token. `expires_at` is in Unix seconds."""

    @property
    def expires_at(self) -> float: ...
    @property
    def segments(self) -> Sequence[str]: ...

    @property
    def scope(self) -> Scope: ...

    def role(self, resource: Resource) -> Role | None: ...

    def allows(self, resource: Resource, role: Role) -> bool: ...


class Authenticator(Protocol):
    """Verifies tokens, with keys that may change."""

    @property
    def revision(self) -> int:
        """Changes whenever the keys or what is revoked did."""
        ...

    def refresh(self, now_s: float) -> None:
        """Look for keys that changed; `now_s` is Unix time."""
        ...

    def verify(self, token: str, now_s: float) -> Identity:
        """Who the token speaks for; raises Refusal UNAUTHENTICATED or TOKEN_EXPIRED."""
        ...

    def reviewed(self, identity: Any, now_s: float) -> Any:
        """This identity, an own one, with what is still granted; raises Refusal UNAUTHENTICATED where its key
        or its token isn't accepted any more, TOKEN_EXPIRED where that has ended."""
        ...


class Unsanitised(Exception):
    """HTML that takes longer to make safe than the event loop may be held: `texts`.

    Clean each (`Rules.cleaned`) in a thread, hand all to `Rules.keep`, and ask again.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__(f"{len(texts)} texts to be made safe first")
        self.texts = texts


class Rules(Protocol):
    """What documents of each resource type may look like, and how their fields merge."""

    @property
    def types(self) -> Collection[str]: ...

    def strategies(self, resource_type: str) -> Any:
        """The per-field merge strategies, as `gateway.ot.lower` takes them."""
        ...

    def check(self, resource_type: str, document: Any, touched: Collection[str] | None) -> None:
        """Check the touched top-level members (all, when None); raises Refusal INVALID_OPERATION."""
        ...

    def check_operations(self, resource_type: str, operations: Sequence[tuple[Any, ...]]) -> None:
        """Check what operations write, whether or not it is there in the end; raises Refusal
        INVALID_OPERATION."""
        ...

    def may_hide_html(self, resource_type: str, operations: Sequence[tuple[Any, ...]]) -> bool:
        """Whether several operations may write HTML that isn't there in the end, and so isn't cleaned."""
        ...

    def sanitise(
        self, resource_type: str, document: Any, touched: Collection[str] | None
    ) -> list[dict[str, Any]]:
        """RFC 6902 operations that clean the touched HTML fields; usually none.

        Raises Refusal TOO_LARGE, and Unsanitised.
        """
        ...

    def cleaned(self, text: str) -> str | Refusal:
        """HTML made safe, or why it can't be; any thread may ask."""
        ...

    def keep(self, outcomes: Mapping[str, str | Refusal]) -> None:
        """What became of the texts of an Unsanitised, for the next `sanitise`."""
        ...


class Question(NamedTuple):
    """Whether a user may see a resource, and do what there."""

    user_id: str
    resource_type: str
    resource_id: str


class Authoriser(Protocol):
    """Who decides by user and resource, beyond what tokens grant; not to be relied on."""

    async def decide(self, questions: Sequence[Question]) -> Sequence[object]:
        """The role in each, in their order: "viewer", "editor", "admin", or None for nothing.

        Raises AuthoriserError. What comes back is checked by who asks, who bounds the time too.
        """
        ...

    async def visible(self, user_id: str, resource_type: str) -> object:
        """The ids of all resources of a type that the user may see; None where it doesn't tell.

        Raises AuthoriserError; checked and bounded as `decide`.
        """
        ...

    async def aclose(self) -> None:
        """Nobody asks any more: let go of connections."""
        ...


# What a user's rate says when other workers have to be asked first.
ASK = -1


class Spent(NamedTuple):
    """What a user spent at a worker since it told last, and wants to be granted, in seconds of his rate."""

    seconds: float
    wanted_s: float = 0.0


class RateLeft(NamedTuple):
    """In how many seconds a user's allowance is full, how many other workers serve him, what was granted."""

    full_in_s: float
    others: int = 0
    granted_s: float = 0.0


class RateStore(Protocol):
    """What users spent of their rates, on all workers."""

    @property
    def trouble(self) -> str:
        """Why users were left out the last time that some were, for people."""
        ...

    def part(self, user_id: str) -> int:
        """The part of the store that knows him: who is told to one part needn't wait for another."""
        ...

    async def spend(self, spent: Mapping[str, Spent], burst_s: float) -> Mapping[str, RateLeft]:
        """Add what users spent; what is wanted is granted, and spent, where `burst_s` has room for it.

        A user is left out where the part of the store that knows him doesn't answer. Raises LogUnavailable
        where none of it does.
        """
        ...
