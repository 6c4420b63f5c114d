"""The kinds of vectors: for each, the inputs that are made from a seed, and what is computed from an input.

`make` writes inputs with their outputs; a test computes the outputs again, on both kernels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from gateway import ot
from gateway.errors import PatchError
from tests.ot import generate, merging, oracle, twins
from tests.vectors import traces
from tests.vectors.forms import read_operations, read_strategies, write_operations, write_strategies

SUITES = Path(__file__).parent.parent / "ot" / "data"

Case = dict[str, Any]
SMALL: tuple[Any, ...] = (
    {"a": "xy", "n": 1},
    {"a": {"b": [1, "t"]}, "c": "d"},
    [[1, 2], {"k": [3]}],
)


class Kind(NamedTuple):
    """`inputs` makes cases from a generator, `outputs` what an implementation must give for one."""

    inputs: Callable[[Random], Iterator[Case]]
    outputs: Callable[[Case], Case]


def plain_numbers(value: Any) -> Any:
    """`value` without floats such as 1.0, which not every language tells from 1."""
    if type(value) is dict:
        return {key: plain_numbers(child) for key, child in value.items()}
    if type(value) is list:
        return [plain_numbers(child) for child in value]
    return int(value) if type(value) is float and value.is_integer() else value


def refusal(error: PatchError) -> Case:
    return {"error": {"code": error.code, "index": error.index}}


def document_of(random: Random) -> Any:
    return plain_numbers(generate.document(random))


def patch_of(random: Random, document: Any, length: int) -> Any:
    return plain_numbers(generate.patch(random, document, length)[0])


def operations_of(random: Random, document: Any, length: int) -> Any:
    return write_operations(ot.lower(document, patch_of(random, document, length)))


# ------------------------------------------------------------------------------------- patches


def json_patch_inputs(random: Random) -> Iterator[Case]:
    for name in ("tests", "spec_tests"):
        for case in json.loads((SUITES / f"{name}.json").read_text()):
            if "patch" in case and not case.get("disabled"):
                yield {"document": plain_numbers(case["doc"]), "patch": plain_numbers(case["patch"])}
    for _ in range(150):
        document = document_of(random)
        patch = patch_of(random, document, random.choice((1, 2, 5)))
        if random.random() < 0.3:
            patch.insert(random.randint(0, len(patch)), hostile(random, document))
        yield {"document": document, "patch": patch}


def hostile(random: Random, document: Any) -> Any:
    """Something wrong in an operation, as far as JSON can say it."""
    while True:
        entry = plain_numbers(twins.hostile(random, document))
        try:
            json.dumps(entry, allow_nan=False, ensure_ascii=False).encode()
        except ValueError:
            continue
        if not any(type(part) is int and abs(part) > 2**60 for part in entry.values()):
            return entry


def json_patch_outputs(case: Case) -> Case:
    try:
        return {"after": ot.apply_patch(case["document"], case["patch"])}
    except PatchError as error:
        return refusal(error)


def lower_inputs(random: Random) -> Iterator[Case]:
    for value in ([1, {"d": 2}, "x"], [3, "x"], [1, "x"], [2, "x"], [7], [{"d": 6}], [1, {"d": 3}]):
        entry = {"op": "text", "path": "/t", "value": value, "unit": "utf16"}
        yield {"document": {"t": "a😀bé😀"}, "patch": [entry], "strategies": []}
    for _ in range(350):
        document = document_of(random)
        patch = patch_of(random, document, random.choice((1, 1, 2, 4)))
        strategies = random.choice((None, twins.STRATEGIES, twins.STRATEGIES))
        yield {"document": document, "patch": patch, "strategies": write_strategies(strategies)}


FIELDS: ot.Strategies = {
    ("text",): "text",
    ("people",): ("set", "id"),
    ("tags",): ("set",),
    ("log",): ("grow",),
    ("seen",): ("grow", "id"),
}
WORDS = ("bring", "Cake", "and", "tea", "please", "会議", "🎂", "don't", "x", "ｆ")
SEPARATORS = (" ", " ", ", ", ". ", "\n", "")


def strategies_inputs(random: Random) -> Iterator[Case]:
    """Fields that are replaced whole, or added to, alone and in patches of several."""
    for _ in range(400):
        document = {
            "text": sentence(random),
            "people": people(random, 1),
            "tags": random.sample("abcdef", 3),
            "log": random.sample(range(9), 3),
            "seen": people(random, 1),
        }
        patch = [changed_field(random, document) for _ in range(random.choice((1, 1, 1, 2, 3)))]
        yield {"document": document, "patch": patch, "strategies": write_strategies(FIELDS)}


def sentence(random: Random) -> str:
    return "".join(random.choice(WORDS) + random.choice(SEPARATORS) for _ in range(random.randrange(14)))


def people(random: Random, most: int) -> list[Any]:
    """Items with ids, of which one may be there `most` times."""
    ids = random.sample([*range(5), "0", True] * most, random.randrange(7))
    return [{"id": ident, random.choice("pq"): random.choice((0, "s", [1]))} for ident in ids]


def changed_field(random: Random, document: Any) -> Case:
    field = random.choice(("text", "text", "people", "people", "tags", "log", "seen"))
    if field == "text":
        return {"op": "replace", "path": "/text", "value": edited_text(random, document["text"])}
    if random.random() < 0.3:
        return {"op": "add", "path": f"/{field}/0", "value": random.choice(("a", 1, {"id": 3}))}
    if field in ("people", "seen"):
        kept = (
            document[field] if field == "seen" else random.sample(document[field], len(document[field]) // 2)
        )
        value: Any = [*people(random, random.choice((1, 2))), *kept]
    else:
        value = [*random.sample(document[field], random.choice((2, 3))), random.choice("aeh")]
    return {"op": "replace", "path": f"/{field}", "value": value}


def edited_text(random: Random, text: str) -> str:
    for _ in range(random.randint(1, 4)):
        start = random.randint(0, len(text))
        end = min(len(text), start + random.choice((0, 0, 1, 3, 9)))
        text = text[:start] + random.choice(("", "x", random.choice(WORDS))) + text[end:]
    return text


def merge_inputs(random: Random) -> Iterator[Case]:
    for _ in range(200):
        base, mine, theirs = merging.triple(random)
        yield {"base": base, "mine": mine, "theirs": theirs, "strategies": write_strategies(merging.FIELDS)}


def merge_outputs(case: Case) -> Case:
    """The patch is any that leads from theirs to `after`."""
    strategies = read_strategies(case["strategies"])
    patch, conflicts = ot.merge(case["base"], case["mine"], case["theirs"], strategies)
    return {"after": ot.apply_patch(case["theirs"], patch), "conflicts": conflicts}


def lower_outputs(case: Case) -> Case:
    try:
        operations = ot.lower(case["document"], case["patch"], read_strategies(case["strategies"]))
    except PatchError as error:
        return refusal(error)
    return {"operations": write_operations(operations), "after": ot.apply(case["document"], operations)}


# ------------------------------------------------------------------------- concurrent operations


def transform_inputs(random: Random) -> Iterator[Case]:
    for document in SMALL:
        lists = [write_operations(operations) for operations in generate.every_list(document)]
        for _ in range(400):
            yield {
                "document": document,
                "earlier": random.choice(lists),
                "later": random.choice(lists),
            }


def lists_inputs(random: Random) -> Iterator[Case]:
    for _ in range(200):
        document = document_of(random)
        yield {
            "document": document,
            "earlier": operations_of(random, document, random.choice((1, 2, 4, 8))),
            "later": operations_of(random, document, random.choice((1, 2, 4, 8))),
        }


def transform_outputs(case: Case) -> Case:
    earlier, later = read_operations(case["earlier"]), read_operations(case["later"])
    earlier_past, later_past = ot.transform(earlier, later)
    after = ot.apply(ot.apply(case["document"], earlier), later_past)
    return {
        "earlier_past": write_operations(earlier_past),
        "later_past": write_operations(later_past),
        "after": after,
    }


def single_inputs(random: Random) -> Iterator[Case]:
    for _ in range(150):
        document = document_of(random)
        earlier = ot.lower(document, patch_of(random, document, random.choice((1, 3))))
        later = ot.lower(document, patch_of(random, document, random.choice((1, 3, 6))))
        past = ot.transform(earlier, later)[1]
        yield {"document": ot.apply(document, earlier), "operations": write_operations(past)}


def emit_outputs(case: Case) -> Case:
    operations = read_operations(case["operations"])
    return {
        "patch": ot.emit(case["document"], operations),
        "settled": write_operations(ot.settle(case["document"], operations)),
    }


def invert_outputs(case: Case) -> Case:
    return {"inverse": write_operations(ot.invert(case["document"], read_operations(case["operations"])))}


def conflicts_inputs(random: Random) -> Iterator[Case]:
    for _ in range(150):
        document, patch, window = oracle.case(random.randrange(1 << 40))
        if window:
            yield conflicts_case(document, patch, window, None)
    for _ in range(150):
        document = document_of(random)
        patch = patch_of(random, document, random.choice((1, 2)))
        head, window = document, []
        for _ in range(random.choice((1, 1, 3))):
            change = ot.lower(head, patch_of(random, head, random.choice((1, 2))), twins.STRATEGIES)
            window.append(ot.settle(head, change))
            head = ot.apply(head, change)
        yield conflicts_case(document, patch, window, twins.STRATEGIES)


def conflicts_case(document: Any, patch: Any, window: Any, strategies: Any) -> Case:
    written = [write_operations(change) for change in window]
    return {
        "document": document,
        "patch": patch,
        "strategies": write_strategies(strategies),
        "window": written,
    }


def conflicts_outputs(case: Case) -> Case:
    window = [read_operations(change) for change in case["window"]]
    strategies = read_strategies(case["strategies"])
    try:
        operations = ot.lower(case["document"], case["patch"], strategies)
    except PatchError as error:
        return refusal(error)
    return {
        "rebased": write_operations(ot.rebase(operations, window)),
        "conflicts": ot.conflicts(case["document"], case["patch"], window, strategies),
    }


def replica_inputs(random: Random) -> Iterator[Case]:
    for _ in range(24):
        case = traces.trace(random.randrange(1 << 40))
        yield {**case, "strategies": write_strategies(case["strategies"])}


def replica_outputs(case: Case) -> Case:
    return {"answers": traces.answers(case, read_strategies(case["strategies"]) or None)}


# --------------------------------------------------------------------------------------- hashes


def canonical_inputs(random: Random) -> Iterator[Case]:
    numbers = [0, -1, 1.5, 1e21, 1e-7, 123456789.125, 5e-324, 1.7976931348623157e308, 0.1, 2**53 - 1, 1e20]
    yield {"document": numbers}
    yield {"document": {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "😀": 5, "\u0080": 6, "ö": 7}}
    yield {"document": {"text": '\u0000\u001f\u007f"\\/\b\f\n\r\t\u2028é😀'}}
    for _ in range(60):
        yield {"document": document_of(random)}


def canonical_outputs(case: Case) -> Case:
    document = case["document"]
    return {"canonical": ot.canonical(document).decode(), "sha256": ot.canonical_hash(document)}


KINDS: dict[str, Kind] = {
    "json_patch": Kind(json_patch_inputs, json_patch_outputs),
    "lower": Kind(lower_inputs, lower_outputs),
    "strategies": Kind(strategies_inputs, lower_outputs),
    "transform": Kind(transform_inputs, transform_outputs),
    "lists": Kind(lists_inputs, transform_outputs),
    "conflicts": Kind(conflicts_inputs, conflicts_outputs),
    "merge": Kind(merge_inputs, merge_outputs),
    "emit": Kind(single_inputs, emit_outputs),
    "invert": Kind(single_inputs, invert_outputs),
    "replica": Kind(replica_inputs, replica_outputs),
    "canonical": Kind(canonical_inputs, canonical_outputs),
}
