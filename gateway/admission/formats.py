"""The formats of strings (JSON Schema `format`) that say more than a parser of them would."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import jsonschema_rs

SCHEMES = ("http", "https", "mailto", "tel")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)")
_HOST = re.compile(r"//[^/?#]")

# What a person is told to write instead.
WANTED: Mapping[str, str] = {
    "date-time": "a date and time as in RFC 3339, such as 2025-12-15T14:00:00Z",
    "date": "a date as in RFC 3339, such as 2025-12-15",
    "time": "a time as in RFC 3339, such as 14:00:00Z",
    "email": "an e-mail address, such as ann@example.com",
    "idn-email": "an e-mail address, such as ann@example.com",
    "uri": "an absolute http, https, mailto or tel URI",
    "iri": "an absolute http, https, mailto or tel URI",
    "uri-reference": "a relative reference, or an http, https, mailto or tel URI",
    "iri-reference": "a relative reference, or an http, https, mailto or tel URI",
}
# An address is just that: "Ann <ann@example.com>" and ann@[127.0.0.1] are not.
EMAIL = jsonschema_rs.EmailOptions(allow_display_text=False, allow_domain_literal=False)


def _links(name: str) -> Callable[[str], bool]:
    """A format of links that nothing runs by: `javascript:` and the like are well-formed URIs too."""
    well_formed = jsonschema_rs.validator_for({"$schema": DRAFT, "format": name}, validate_formats=True)

    def is_link(text: str) -> bool:
        found = _SCHEME.match(text)
        if found is None:
            return name.endswith("reference") and well_formed.is_valid(text)
        scheme = found[0].lower()
        if scheme not in SCHEMES or (scheme.startswith("http") and not _HOST.match(text, found.end() + 1)):
            return False
        return well_formed.is_valid(text)

    return is_link


FORMATS: Mapping[str, Callable[[str], bool]] = {
    name: _links(name) for name in ("uri", "iri", "uri-reference", "iri-reference")
}
