"""What a test needs and isn't here: a skip that says so, but a failure in CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


class Missing(Exception):
    """What isn't here, and how it can be had."""


def skip_or_fail(reason: Missing) -> NoReturn:
    """For tests of what an environment installs: not of what a machine may forbid."""
    if os.environ.get("CI"):
        raise reason
    pytest.skip(str(reason))
