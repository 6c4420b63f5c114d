"""The documentation site: Sphinx, with Markdown by MyST. `make docs` builds it, and so does `make check`."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

sys.path.insert(0, str(Path(__file__).parent))

import generated

project = "Collaboration gateway"
author = "The collaboration gateway's contributors"
extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
html_theme = "furo"
html_title = project
html_copy_source = False
html_show_copyright = False
exclude_patterns = ["benchmarks.md"]  # explanation/performance.md includes it
nitpicky = True


def fill_in(app: Sphinx, name: str, source: list[str]) -> None:
    """Replace the marks `<!-- generated: NAME -->` of a page by what the code says."""
    source[0] = generated.filled(source[0])


def always_anew(app: Sphinx, env: BuildEnvironment, *changes: set[str]) -> list[str]:
    """Pages with generated parts are read in every build: the code may have changed, not the page."""
    return [name for name in sorted(env.found_docs) if generated.is_filled(env.doc2path(name))]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", fill_in)
    app.connect("env-get-outdated", always_anew)
    return {"parallel_read_safe": True}
