"""What a look at all that is stored found, whichever log it is in."""

from __future__ import annotations

from dataclasses import dataclass, field

# A doctor that named every change of a ruined log would say no more than one that names the first.
NAMED_MAX = 10


@dataclass
class Checked:
    """What was looked at, and what is wrong: at most NAMED_MAX are named."""

    changes: int = 0
    without_checksum: int = 0
    damaged: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, what: str) -> None:
        """Something is wrong."""
        self.damaged += 1
        if len(self.named) < NAMED_MAX:
            self.named.append(what)
