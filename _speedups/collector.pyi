from collections.abc import Sequence
from typing import Any

def exempt(holder: object, operations: Sequence[tuple[Any, ...]], value: Any) -> None: ...
