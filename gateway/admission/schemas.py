"""The JSON Schema of each resource type, compiled for each top-level member.

An edit is checked in what it touches: a member that is invalid already blocks no edit elsewhere. Shipped
types are in `gateway/schemas`; an operator's directory (`schemas.directory`) adds types
and replaces shipped ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from gateway import ot
from gateway.admission import characters, formats
from gateway.admission.annotations import Annotations, Strategy, read_annotations
from gateway.admission.grants import RESOURCE_TYPE
from gateway.admission.instants import instant
from gateway.admission.markup import Sanitiser, strings_at
from gateway.config import Config
from gateway.config.fields import suggestion
from gateway.errors import ConfigError, Refusal
from gateway.ot.kernel.documents import INS, MOV, SET, TXT
from gateway.ports import Unsanitised

_TYPE = re.compile(RESOURCE_TYPE)
_MESSAGE_LENGTH_MAX = 240
_SHARED_KEYWORDS = ("$schema", "$defs", "definitions")
_ROOT_KEYWORDS = frozenset(
    {
        *_SHARED_KEYWORDS,
        *("$id", "$comment", "title", "description", "default", "examples", "deprecated"),
        *("type", "properties", "required", "additionalProperties"),
    }
)


class Schemas:
    """All resource types that this gateway serves. Raises ConfigError for a schema that can't be used."""

    def __init__(self, config: Config) -> None:
        strict = config.schemas.strict_schema
        self._types: dict[str, _ResourceSchema] = {}
        for name, text, where in _files(config.schemas.directory):
            self._types[name] = _ResourceSchema(name, _parsed(text, where), where, strict)
        self.types = frozenset(self._types)
        self._sanitiser = Sanitiser(config.limits.html_bytes_max, config.limits.html_tags_max)

    def strategies(self, resource_type: str) -> Mapping[tuple[str, ...], Strategy]:
        """How the fields of a type merge, as `gateway.ot.lower` takes it."""
        schema = self._types[resource_type]
        return schema.strategies

    def check(self, resource_type: str, document: Any, touched: Iterable[str] | None) -> None:
        """Judge a document after an edit that touched these top-level members (None: the root, so all).

        A `document` of None is a deleted resource. Raises Refusal INVALID_OPERATION.
        """
        if document is None:
            return
        schema = self._types[resource_type]
        if not isinstance(document, dict):
            raise schema.refused((), "the document must be an object")
        if touched is None:
            schema.check_members(document, schema.required.union(document))
        else:
            schema.check_members(document, touched)
        schema.check_order(document, touched)

    def check_operations(self, resource_type: str, operations: Sequence[tuple[Any, ...]]) -> None:
        """Judge the strings and names that operations write, whether or not they are there in the end.

        Raises Refusal INVALID_OPERATION.
        """
        schema, judged = self._types[resource_type], set[str]()
        for operation in operations:
            schema.check_operation(operation, judged)

    def may_hide_html(self, resource_type: str, operations: Sequence[tuple[Any, ...]]) -> bool:
        """Whether one of several operations is in a member with HTML, or of the root."""
        places = self._types[resource_type].html
        if not places or len(operations) < 2:
            return False
        members = {place[0] for place in places}
        paths = (path for operation in operations for path in operation[1:2] + operation[2:3])
        return any(type(path) is tuple and (not path or path[0] in members) for path in paths)

    def sanitise(
        self, resource_type: str, document: Any, touched: Collection[str] | None
    ) -> list[dict[str, Any]]:
        """RFC 6902 operations that clean the HTML among the touched members; usually none.

        Raises Refusal TOO_LARGE, and Unsanitised for what takes so long that a thread should do it first.
        """
        places = self._types[resource_type].html
        if not places or not isinstance(document, dict):
            return []
        wanted = document if touched is None else touched
        found = [pair for place in places if place[0] in wanted for pair in strings_at(place, document)]
        operations: list[dict[str, Any]] = []
        waiting: list[str] = []
        for pointer, text in found:
            try:
                safe = self._sanitiser.sanitised(text)
            except Unsanitised as unsanitised:
                waiting += unsanitised.texts
                continue
            if safe != text:
                operations.append({"op": "replace", "path": pointer, "value": safe})
        if waiting:
            raise Unsanitised(waiting)
        return operations

    def cleaned(self, text: str) -> str | Refusal:
        """HTML made safe, or why it can't be; any thread may ask."""
        try:
            return self._sanitiser.cleaned(text)
        except Refusal as refusal:
            return refusal

    def keep(self, outcomes: Mapping[str, str | Refusal]) -> None:
        """What became of the texts of an Unsanitised, for the next `sanitise`."""
        self._sanitiser.keep(outcomes)


class _ResourceSchema:
    """One type: a validator for each member that its schema names, and one for the others."""

    __slots__ = ("_members", "_name", "_others", "annotations", "html", "required", "strategies")

    def __init__(self, name: str, schema: dict[str, Any], where: str, strict: bool) -> None:
        _check_root(schema, where)
        shared: dict[str, Any] = {key: schema[key] for key in _SHARED_KEYWORDS if key in schema}
        self._name = name
        self._members = {
            member: _compiled(
                {"$schema": formats.DRAFT, **shared, **_as_object(child, where)}, f"{where}, /{member}"
            )
            for member, child in schema.get("properties", {}).items()
        }
        others = _as_object(False if strict else schema.get("additionalProperties", True), where)
        self._others = (
            None
            if others == {"not": {}}
            else _compiled({"$schema": formats.DRAFT, **shared, **others}, f"{where}, additionalProperties")
        )
        self.annotations: Annotations = read_annotations(schema, where)
        self.html = self.annotations.html
        self.strategies = self.annotations.strategies
        self.required = frozenset(schema.get("required", ()))

    def check_members(self, document: dict[str, Any], names: Iterable[str]) -> None:
        for name in names:
            if name not in document:
                if name in self.required:
                    raise self.refused((name,), "the member is required and can't be removed")
                continue
            value = document[name]
            validator = self._members.get(name)
            if validator is None:
                self._check_other(name, value)
                continue
            try:
                if not validator.is_valid(value):
                    raise self._invalid(name, validator, value)
                if type(value) is not str or not value.isprintable():
                    known = self.annotations
                    self._check_characters((name,), value, name in known.multiline, name in known.bidi)
            except (UnicodeEncodeError, orjson.JSONEncodeError):
                raise self.refused((name,), "the value can't be written as UTF-8 JSON") from None

    def check_operation(self, operation: tuple[Any, ...], judged: set[str]) -> None:
        """Control and bidirectional characters, and names, in what a kernel operation writes.

        The names that were `judged` aren't again: all paths of a patch may have a long one.
        """
        kind, path = operation[0], operation[1]
        name = path[0] if path else ""
        for token in (*path, *operation[2]) if kind == MOV else path:
            if type(token) is not str or token in judged:
                continue
            unfit = characters.name_problem(token)
            if unfit is not None:
                raise self.refused((), unfit)
            judged.add(token)
        known = self.annotations
        multiline = not path or name in known.multiline or name not in self._members
        try:
            if kind in (SET, INS):
                self._check_characters(path, operation[2], multiline, name in known.bidi)
            elif kind == TXT:  # a part of a text may leave open what another part closes
                texts = "".join([component for component in operation[2] if type(component) is str])
                self._check_characters(path, texts, multiline, bidi=True)
        except (UnicodeEncodeError, orjson.JSONEncodeError):
            raise self.refused(path[:1], "the value can't be written as UTF-8 JSON") from None

    def check_order(self, document: dict[str, Any], touched: Iterable[str] | None) -> None:
        """Refuse an edit that leaves one point in time before another that it must not precede."""
        for later, earlier in self.annotations.not_before:
            if touched is not None and later not in touched and earlier not in touched:
                continue
            end, start = instant(document.get(later)), instant(document.get(earlier))
            if end is not None and start is not None and end < start:
                problem = f"must not be before {earlier} ({document[earlier]}); to move both, use one patch"
                raise self.refused((later,), f"{later} ({document[later]}) {problem}")

    def refused(self, path: tuple[str | int, ...], problem: str) -> Refusal:
        """The refusal of one edit: where, what is wrong, and the way out."""
        pointer = ot.pointer(path)
        where = f"{pointer[:_MESSAGE_LENGTH_MAX]}: " if pointer else ""
        return Refusal(
            "INVALID_OPERATION",
            f"{where}{problem[:_MESSAGE_LENGTH_MAX]}. Nothing was changed: correct and resend the edit.",
            **({"path": pointer} if len(pointer) <= _MESSAGE_LENGTH_MAX else {}),
        )

    def _check_other(self, name: str, value: Any) -> None:
        """A member that the schema doesn't name: its name is judged too."""
        if self._others is None:
            near = suggestion(name[:64], self._members)
            raise self.refused((name,), f"{self._name} has no such member{near}")
        try:
            unfit = characters.name_problem(name)
            if unfit is not None:
                raise self.refused((), unfit)
            if not self._others.is_valid(value):
                raise self._invalid(name, self._others, value)
            self._check_characters((name,), value, multiline=True, bidi=False)
        except (UnicodeEncodeError, orjson.JSONEncodeError):
            raise self.refused((), "a member's name or value can't be written as UTF-8 JSON") from None

    def _check_characters(self, path: tuple[str | int, ...], value: Any, multiline: bool, bidi: bool) -> None:
        found = characters.problem(value, multiline, bidi)
        if found is not None:
            problem, inside = found
            raise self.refused((*path, *inside), problem)

    def _invalid(self, name: str, validator: jsonschema_rs.Validator, value: Any) -> Refusal:
        error = next(iter(validator.iter_errors(value)))
        return self.refused((name, *error.instance_path), _explained(error))


def _explained(error: jsonschema_rs.ValidationError) -> str:
    """What is wrong and, where a keyword's own message doesn't say, what would be right."""
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Enum):
        return f"the value must be one of {', '.join(json.dumps(option) for option in kind.options)}"
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Format) and kind.format in formats.WANTED:
        return f"the value must be {formats.WANTED[kind.format]}"
    return error.message


def _compiled(schema: dict[str, Any], where: str) -> jsonschema_rs.Validator:
    """A validator without network access and with regular expressions that can't backtrack."""
    try:
        return jsonschema_rs.validator_for(
            schema,
            formats=dict(formats.FORMATS),
            email_options=formats.EMAIL,
            validate_formats=True,
            ignore_unknown_formats=False,
            retriever=_retrieve_nothing,
            mask="the value",
            pattern_options=jsonschema_rs.RegexOptions(),
        )
    except (ValueError, TypeError) as error:
        reason = getattr(error, "message", str(error))
        path = "/".join(map(str, getattr(error, "instance_path", [])))
        raise ConfigError(
            f"{where}{f' ({path})' if path else ''}: not a usable JSON Schema: {reason}"
        ) from None


def _retrieve_nothing(uri: str) -> Any:
    raise ValueError(f"$ref to {uri}: put the definition into $defs, other documents are not fetched")


def _files(directory: str) -> list[tuple[str, str, str]]:
    """(type, text, where) of the shipped schemas, then of the operator's."""
    shipped = sorted(resources.files("gateway").joinpath("schemas").iterdir(), key=lambda file: file.name)
    found = [(file.name[:-5], file.read_text("utf-8"), f"gateway/schemas/{file.name}") for file in shipped]
    if directory:
        try:
            own = sorted(file for file in Path(directory).iterdir() if file.suffix == ".json")
            found += [(file.stem, file.read_text("utf-8"), str(file)) for file in own]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"can't read the schemas in {directory}: {error}") from error
    for name, _, where in found:
        if not _TYPE.fullmatch(name):
            raise ConfigError(
                f"{where}: {name!r} can't be a resource type; name the file with a letter, then up to 63 "
                "letters, digits, _ or -"
            )
    return found


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise ConfigError(f"{where}: a resource's schema must be an object")
    return schema


def _check_root(schema: dict[str, Any], where: str) -> None:
    """Members are checked one by one, so the root can only say what its members are."""
    for keyword in schema:
        if keyword not in _ROOT_KEYWORDS and not keyword.startswith("x-"):
            raise ConfigError(
                f"{where}: {keyword} at the root is not supported, for members are checked one by one; "
                "use type, properties, required, additionalProperties and $defs"
            )
    if schema.get("type", "object") != "object":
        raise ConfigError(f'{where}: the type of a resource must be "object"')
    if not isinstance(schema.get("properties", {}), dict):
        raise ConfigError(f"{where}: properties must be an object")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise ConfigError(f"{where}: required must be an array of member names")


def _as_object(schema: Any, where: str) -> dict[str, Any]:
    """A boolean schema as an object, so that `$defs` can stand beside it."""
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    if not isinstance(schema, dict):
        raise ConfigError(f"{where}: the schema of a member must be an object, true or false")
    return schema
