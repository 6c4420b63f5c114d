"""Builds wheels as a release would, installs them in clean environments without a compiler, and tries them.

python -m tests.deploy.wheels [PYTHON...]     # each of these interpreters; default: all that are installed

What passed is put into out/wheels.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.docs.markdown import blocks

ROOT = Path(__file__).parent.parent.parent
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
SOURCES = (*FILES, "gateway", "_speedups", "loadtest", "tests")
PAGE = ROOT / "docs" / "how-to" / "install.md"
KEPT = ROOT / "out" / "wheels"
VERSIONS = ("3.11", "3.12", "3.13")
# To build, and to fetch what is depended on.
BUILD_TIMEOUT_S = 900
TRY_TIMEOUT_S = 60
COMPILED = re.compile(r".*\.(so|c|pyc)")
READY = re.compile(r"ready ws=(\S+) admin=(\S+)")


def source(folder: Path) -> Path:
    """What a release is built from: the source distribution, unpacked. Nothing that was built is in it."""
    copy, packed = folder / "copy", folder / "packed"
    copy.mkdir()
    for name in SOURCES:
        found = ROOT / name
        if found.is_dir():
            shutil.copytree(found, copy / name, ignore=_built)
        else:
            shutil.copy(found, copy / name)
    env = {**os.environ, "GATEWAY_KERNELS": "later"}
    run([sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", packed], env, copy)
    [made] = packed.glob("*.tar.gz")
    with tarfile.open(made) as archive:
        archive.extractall(packed, filter="data")
    return (packed / made.name.removesuffix(".tar.gz")).rename(folder / "source")


def _built(folder: str, names: Sequence[str]) -> set[str]:
    return {name for name in names if COMPILED.fullmatch(name) or name == "__pycache__"}


def without_compiler(folder: Path, **variables: str) -> dict[str, str]:
    """An environment in whose PATH there is none; `CC` names none either."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("sh", "env", "uname"):
        found = shutil.which(name)
        if found is not None and not (tools / name).exists():
            (tools / name).symlink_to(found)
    kept = {
        name: os.environ[name]
        for name in ("HOME", "LANG", "PIP_INDEX_URL", "PIP_CONFIG_FILE")
        if name in os.environ
    }
    return {
        **kept,
        "PATH": str(tools),
        "CC": str(tools / "cc"),
        "CXX": str(tools / "c++"),
        "PIP_NO_COMPILE": "1",  # of what is installed most is never imported
        **variables,
    }


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """What it prints; it has to succeed."""
    done = subprocess.run(
        [str(word) for word in command],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


def wheel(folder: Path, python: str, flags: str = "") -> Path:
    """The wheel of this source for a Python. `flags` are the C compiler's, the last word."""
    made = folder / "wheels"
    env = {**os.environ, "GATEWAY_CFLAGS": flags} if flags else dict(os.environ)
    env.pop("PYTHONPATH", None)
    run([python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", made, folder / "source"], env)
    [found] = made.glob("*.whl")
    return found


def installed(folder: Path, python: str, what: Path) -> Path:
    """A clean environment with this wheel, or this source, and nothing else but what it depends on."""
    env = folder / "env"
    run([python, "-m", "venv", env])
    pip = [env / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", what]
    run(pip, without_compiler(folder))
    return env


def typed(folder: Path, text: str) -> str:
    """What these lines of a page print, with the places that they name below this folder."""
    for place in ("/opt/", "/etc/"):
        text = text.replace(place, f"{folder}{place}")
    return run(["sh", "-e", "-c", text], surroundings(folder), folder)


def installed_by_the_page(folder: Path, python: str) -> Path:
    """The same by what docs/how-to/install.md has an operator type, below this folder."""
    made = folder / "out"
    made.mkdir()
    (folder / "wheels").rename(made / "wheels")
    without_compiler(folder)
    for name, found in (("python3", python), ("ln", shutil.which("ln"))):
        (folder / "tools" / name).symlink_to(str(found))
    [block] = [block.text for block in blocks(PAGE, "Install it") if "-m venv" in block.text]
    typed(folder, block)
    return folder / "opt" / "gateway"


def renumbered(made: Path, version: str) -> Path:
    """The same wheel as one of another version."""
    name, old = made.name.split("-")[:2]
    target = made.with_name(made.name.replace(f"{name}-{old}-", f"{name}-{version}-", 1))
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(target, "w") as copy:
        for item in source.namelist():
            content = source.read(item)
            if ".dist-info/" in item:
                content = content.replace(f"{name}-{old}.".encode(), f"{name}-{version}.".encode())
                content = content.replace(f"\nVersion: {old}\n".encode(), f"\nVersion: {version}\n".encode())
            copy.writestr(item.replace(f"{name}-{old}.", f"{name}-{version}.", 1), content)
    return target


def kernels(env: Path, folder: Path) -> dict[str, bool]:
    """Which kernels run compiled in an environment."""
    program = "import json; from gateway.runtime import speedups; print(json.dumps(speedups.report()))"
    found: dict[str, bool] = json.loads(
        run([env / "bin" / "python", "-c", program], without_compiler(folder), folder).splitlines()[0]
    )
    return found


@contextmanager
def serving(env: Path, folder: Path, *words: str) -> Iterator[str]:
    """The address of a node of this environment, which serves on the folder's data; it has to end well."""
    log = folder / "log"
    with log.open("a") as errors:
        node = subprocess.Popen(
            [env / "bin" / "gateway", "serve", "--port", "0", "--admin-port", "0", *words],
            env=surroundings(folder), cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    try:
        assert node.stdout is not None
        line = node.stdout.readline()
        ready = READY.search(line)
        assert ready is not None, (line, log.read_text())
        yield ready[1]
    finally:
        node.terminate()
        status = node.wait(TRY_TIMEOUT_S)
        assert node.stdout is not None
        node.stdout.close()
    assert status == 0, log.read_text()


def surroundings(folder: Path) -> dict[str, str]:
    """Those of the commands that are tried: without a compiler, with the folder's data."""
    return without_compiler(folder, GATEWAY_SERVER_DATA_DIR=str(folder / "data"))


def edit(env: Path, folder: Path, url: str) -> None:
    patch = '{"op": "add", "path": "/title", "value": "Planning"}'
    command = [env / "bin" / "gateway", "edit", "--create", "event:1", patch, "--user", "ann", "--url", url]
    run(command, surroundings(folder), folder)


def watched(env: Path, folder: Path, url: str) -> str:
    """What is seen of what was edited."""
    command = [env / "bin" / "gateway", "watch", "event:1", "--once", "--user", "ann", "--url", url]
    return run(command, surroundings(folder), folder)


def tried(env: Path, folder: Path, *words: str) -> str:
    """Serve, edit over a real socket and read it again; what the node said."""
    with serving(env, folder, *words) as url:
        edit(env, folder, url)
        assert "Planning" in watched(env, folder, url)
    return (folder / "log").read_text()


def interpreters() -> list[str]:
    """Of each supported version the Python that is installed."""
    names = [shutil.which(f"python{version}") for version in VERSIONS]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for version, name in zip(VERSIONS, names, strict=True):
        kept = sorted(pyenv.glob(f"{version}.*/bin/python"))
        if name is not None or kept:
            found[version] = str(kept[-1]) if kept else str(name)
    return list(found.values())


def tag(python: str) -> str:
    """What the name of a wheel for this Python has in it."""
    return run([python, "-c", "import sys; print('cp%d%d' % sys.version_info[:2])"]).strip()


def main() -> None:
    """Build, install and try a wheel for each Python."""
    for python in sys.argv[1:] or interpreters():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source(folder)
            made = wheel(folder, python)
            env = installed(folder, python, made)
            assert all(kernels(env, folder).values())
            tried(env, folder, "--transport", "fast")
            KEPT.mkdir(parents=True, exist_ok=True)
            kept = Path(shutil.copy(made, KEPT)).relative_to(ROOT)
            print(
                f"{kept}: {made.stat().st_size / 1e6:.1f} MB, fast transport without a compiler", flush=True
            )


if __name__ == "__main__":
    main()
