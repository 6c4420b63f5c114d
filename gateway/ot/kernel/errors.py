"""Why an operation can't be carried out."""

from __future__ import annotations

CONFLICT = "CONFLICT"
INVALID = "INVALID_OPERATION"
TOO_LARGE = "TOO_LARGE"


class KernelError(ValueError):
    """An operation can't be carried out: `code` is an ERROR's, `index` in the patch or None.

    `test`: of the tests among operations that are applied, which one failed, from 0; or None.
    """

    def __init__(self, code: str, message: str, index: int | None = None) -> None:
        super().__init__(code, message, index)
        self.code = code
        self.message = message
        self.index = index
        self.test: int | None = None

    def __str__(self) -> str:
        return self.message
