"""What a node does with memory that it no longer needs."""

from __future__ import annotations

import subprocess
import sys

from tests.runtime.freed_memory import DOCUMENT_BYTES, DOCUMENTS


def test_the_system_gets_documents_back_though_small_objects_lie_among_them():
    command = [sys.executable, "-m", "tests.runtime.freed_memory"]
    resident = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert resident < DOCUMENTS * DOCUMENT_BYTES / 10
