"""What can go wrong on the way to a Redis server."""

from __future__ import annotations

from gateway.errors import GatewayError


class LinkError(GatewayError):
    """A command has no reply. `sent`: the server may have carried it out."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class LinkBusy(LinkError):
    """Too much is under way on the link already."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)
