"""Published suites for RFC 6902, and the PyPI package `jsonpatch` as an oracle."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import jsonpatch
import pytest

from gateway import ot
from gateway.errors import PatchError
from tests.ot import generate

DATA = Path(__file__).parent / "data"


def cases() -> list[Any]:
    found = []
    for name in ("tests", "spec_tests"):
        for index, case in enumerate(json.loads((DATA / f"{name}.json").read_text())):
            if "patch" in case and not case.get("disabled"):
                found.append(pytest.param(case, id=f"{name}-{index}-{case.get('comment', '')}"))
    return found


def test_the_suites_are_whole() -> None:
    assert len(cases()) == 91
    names = [case.id.split("-")[0] for case in cases()]
    assert names.count("spec_tests") == 16


@pytest.mark.parametrize("case", cases())
def test_published_case(case: dict[str, Any]) -> None:
    before = json.dumps(case["doc"])
    if "error" in case:
        with pytest.raises(PatchError) as caught:
            ot.apply_patch(case["doc"], case["patch"])
        assert caught.value.code in ("INVALID_OPERATION", "CONFLICT")
        assert caught.value.index is not None
    else:
        after = ot.apply_patch(case["doc"], case["patch"])
        assert ot.equal(after, case.get("expected", case["doc"]))
    assert json.dumps(case["doc"]) == before, "the input was changed"


def test_random_patches_give_what_jsonpatch_gives() -> None:
    compared = 0
    for seed in range(400):
        random = Random(seed)
        document = generate.document(random)
        patch, _ = generate.patch(random, document, 8)
        standard = [entry for entry in patch if entry["op"] not in ("text", "inc") and entry["path"]]
        try:
            after = ot.apply_patch(document, standard)
        except PatchError:
            continue  # what was left out is needed by what is left
        expected = jsonpatch.apply_patch(document, standard)
        assert ot.identical(after, expected), (seed, document, standard)
        compared += 1
    assert compared > 350
