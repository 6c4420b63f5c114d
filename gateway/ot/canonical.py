"""The canonical form of a document (RFC 8785) and its hash, by which replicas are compared."""

from __future__ import annotations

import hashlib
from json.encoder import encode_basestring
from typing import Any


def canonical(document: Any) -> bytes:
    """RFC 8785: no blanks, members sorted by UTF-16 code units, numbers as ECMAScript writes them."""
    parts: list[str] = []
    _write(document, parts)
    return "".join(parts).encode()


def canonical_hash(document: Any) -> str:
    """SHA-256 of the canonical form, hexadecimal."""
    return hashlib.sha256(canonical(document)).hexdigest()


def _write(value: Any, parts: list[str]) -> None:
    kind = type(value)
    if kind is dict:
        separator = "{"
        for key in sorted(value, key=_utf16):
            parts.append(f"{separator}{encode_basestring(key)}:")
            _write(value[key], parts)
            separator = ","
        parts.append("}" if value else "{}")
    elif kind is list:
        separator = "["
        for item in value:
            parts.append(separator)
            _write(item, parts)
            separator = ","
        parts.append("]" if value else "[]")
    else:
        parts.append(_scalar(value))


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is str:
        return encode_basestring(value)
    return ecmascript_number(float(value)) if abs(value) >= 2**53 or type(value) is float else str(value)


def ecmascript_number(value: float) -> str:
    """`Number.prototype.toString` of a finite number (ECMA-262, Number::toString)."""
    if value == 0.0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent_text = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # value = 0.DIGITS * 10 ** point
    point = len(whole) + int(exponent_text or 0)
    if whole == "0":
        point -= len(fraction) - len(fraction.lstrip("0")) + 1
    digits = digits.rstrip("0")
    return sign + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    count = len(digits)
    if count <= point <= 21:
        return digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    exponent = point - 1
    mantissa = digits if count == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{'+' if exponent > 0 else '-'}{abs(exponent)}"
