from collections.abc import Sequence
from typing import Any

def exempt(operations: Sequence[tuple[Any, ...]], document: Any) -> None: ...
