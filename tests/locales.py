"""Where a program's letters are others than UTF-8's."""

from __future__ import annotations

import os

# The environment of a program in a locale whose encoding is ASCII, without UTF-8 in its place.
ASCII_ALONE = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
