"""Answers that are given in the application's place, as it would give them."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response

from gateway.http.cors import Cors
from gateway.http.headers import REQUEST_ID, request_id, secure
from gateway.http.problems import Problem, response


class Early:
    """Makes them, for the pages of these origins too."""

    def __init__(self, allows_origin: Callable[[str], bool]) -> None:
        self._cors = Cors(Response(), allows_origin)  # nothing is behind it

    def answer(self, method: str, asked: Headers, problem: Problem) -> Response:
        """The answer to who is refused; a preflight isn't (see `Cors.early`)."""
        answer = self._cors.early(method, asked, response(problem))
        secure(answer.headers)
        answer.headers[REQUEST_ID] = request_id(asked)
        return answer
