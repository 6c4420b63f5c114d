"""What is the same for as long as the process runs: made once, and sent to whoever hasn't got it."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.http.preconditions import etag_of, is_known


class Unchanging:
    """A handler that answers with these fields."""

    def __init__(self, fields: Any) -> None:
        self._body = orjson.dumps(fields)
        self._headers = {**etag_of(self._body), "Cache-Control": "no-cache"}

    async def answer(self, request: Request) -> Response:
        """The fields; 304 where the caller has them."""
        if is_known(request, self._headers):
            return Response(None, 304, self._headers)
        return Response(self._body, headers=self._headers, media_type="application/json")
