"""The index of a cluster on a node of Elasticsearch's own classes, where a measurement has brought them."""

from __future__ import annotations

import atexit
import functools
from contextlib import ExitStack

import pytest

from benchmarks import elasticsearch
from tests.search.server_contract import ServerContract

HEAP_MB = 384


@functools.cache
def shared_node() -> str:
    """The URL of one for the whole run, or why there is none."""
    if not elasticsearch.is_here():
        return "no classes in the cache: `python -m benchmarks.search server --elasticsearch` brings them"
    stack = ExitStack()
    atexit.register(stack.close)
    try:
        return stack.enter_context(elasticsearch.server(HEAP_MB))
    except elasticsearch.CannotStart as error:
        return str(error)


class TestElasticsearch(ServerContract):
    def url(self) -> str:
        found = shared_node()
        if not found.startswith("http://"):
            pytest.skip(found)
        return found
