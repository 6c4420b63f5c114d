"""What settings need beyond what every installation has: extras of the package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import NamedTuple

from gateway.config.settings import Config
from gateway.errors import ConfigError


class Extra(NamedTuple):
    """An extra, the modules that come with it, and the setting (`section.name`) that asks for it."""

    name: str
    modules: tuple[str, ...]
    setting: str

    @property
    def remedy(self) -> str:
        """What to do where it isn't installed: by this environment's pip, for no index has the gateway."""
        return f"{sys.executable} -m pip install 'collab-gateway[{self.name}]', or leave {self.setting} out"

    def problem(self) -> str | None:
        """What isn't installed; None where all of it is."""
        missing = next((module for module in self.modules if not _is_installed(module)), None)
        return missing and f"{self.setting} is set, and {missing} isn't installed"

    def require(self) -> None:
        """Raise ConfigError unless it is installed."""
        if (problem := self.problem()) is not None:
            raise ConfigError(f"{problem}: {self.remedy}")


SEARCH = Extra("search", ("httpx",), "search.url")
AUTHORISER = Extra("authoriser", ("httpx",), "authoriser.url")
TRACING = Extra("otel", ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"), "tracing.endpoint")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is what it lies in
        return False


def wanted(config: Config) -> Iterator[Extra]:
    """The extras that the configuration asks for."""
    for extra in (SEARCH, AUTHORISER, TRACING):
        section, name = extra.setting.split(".")
        if getattr(getattr(config, section), name):
            yield extra
