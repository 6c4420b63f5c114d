"""The systemd units, and what systemd says of them."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

from tests.debian import program
from tests.deploy.alerts import DEPLOY
from tests.missing import Missing, skip_or_fail

UNIT, SETTINGS = DEPLOY / "gateway.service", DEPLOY / "gateway.toml"


def unit(section: str = "Service") -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return parser[section]


def systemd_analyze(*words: str) -> subprocess.CompletedProcess[str]:
    """What systemd says of a unit or a time."""
    try:
        found = program("systemd-analyze", "systemd")
    except LookupError as error:
        skip_or_fail(Missing(str(error)))
    return subprocess.run([found, *words], capture_output=True, text=True, check=False)


def complaints(*units: Path, directory: Path) -> list[str]:
    """What systemd finds wrong with these, once what they start is there."""
    for unit in units:
        text = unit.read_text().replace("/opt/gateway/bin/gateway", f'"{sys.executable}"')
        (directory / unit.name).write_text(text)
    checked = systemd_analyze("verify", "--man=no", *(str(directory / unit.name) for unit in units))
    return [line for line in checked.stderr.splitlines() if any(unit.name in line for unit in units)]
