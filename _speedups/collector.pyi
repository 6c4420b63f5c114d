from collections.abc import Sequence
from typing import Any

def exempt(operations: Sequence[tuple[Any, ...]], value: Any) -> None: ...
