from array import array
from typing import Any

def replay(
    spool: list[tuple[bytes, tuple[int, bytes] | None]],
    at: int,
    document: dict[str, Any],
    version: int,
    digests: array[int],
    digested_max: int,
) -> tuple[int, int]: ...
