"""Known weaknesses of what is installed, for `make check`: `python -m tests.audit`.

Status 1 when there is one. Where the advisories can't be reached that is said, and isn't an error: a check
without a network stays what it is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

TIMEOUT_S = 180


def asked() -> tuple[Sequence[Mapping[str, Any]], str]:
    """What pip-audit says of each dependency; and why it says nothing."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--local"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        return json.loads(done.stdout)["dependencies"], ""
    except subprocess.TimeoutExpired:
        return (), f"no answer in {TIMEOUT_S} s"
    except (ValueError, KeyError):
        return (), (done.stderr.strip().splitlines() or ["it said nothing"])[-1]


def judged(found: Sequence[Mapping[str, Any]], trouble: str) -> tuple[int, list[str]]:
    """The status, and what is said."""
    audited = [item for item in found if "skip_reason" not in item]
    weak = [item for item in audited if item.get("vulns")]
    said = [_told(item) for item in weak]
    if not audited:
        reason = trouble or f"none of {len(found)} packages is known there"
        return 0, [f"audit: NOT DONE, the advisories can't be reached: {reason}"]
    unknown = len(found) - len(audited)
    rest = f"; {unknown} are not known there" if unknown else ""
    return int(bool(weak)), [
        *said,
        f"audit: {len(audited)} packages, {len(weak)} with known weaknesses{rest}",
    ]


def _told(item: Mapping[str, Any]) -> str:
    names = ", ".join(vuln["id"] for vuln in item["vulns"])
    mended = ", ".join(version for vuln in item["vulns"] for version in vuln["fix_versions"])
    return f"audit: {item['name']} {item['version']}: {names}; mended in {mended or 'no release yet'}"


def main() -> int:
    status, said = judged(*asked())
    print("\n".join(said))
    return status


if __name__ == "__main__":
    sys.exit(main())
