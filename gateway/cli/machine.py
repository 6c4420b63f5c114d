"""What this machine offers a gateway, and what is stored: the findings of `gateway doctor`."""

from __future__ import annotations

import errno
import gc
import os
import platform
import shutil
import stat
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from gateway.admission import secret_path
from gateway.cli.options import counted
from gateway.config import Config, extras
from gateway.errors import ConfigError, LogError
from gateway.log.checked import Checked
from gateway.log.cluster.backup import with_stores
from gateway.log.cluster.check import check_cluster
from gateway.log.sqlite.check import check
from gateway.log.sqlite.log import DATABASE
from gateway.runtime import interpreter, speedups

Status = Literal["ok", "hint", "bad"]

PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
PORTS_MIN = 28_000
FREE_BYTES_MIN = 1 << 30
FSYNC_GOOD_MS = 10.0
FSYNC_TRIES = 20
PAGE_BYTES = 4096
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
# Modes that a file may not have, and what then can be done to it, and against it.
OTHERS_READ, OTHERS_WRITE = 0o027, 0o022
REMEDIES = {
    OTHERS_READ: ("read or change it", "o-rwx,g-w"),
    OTHERS_WRITE: ("change it, and so sign tokens", "go-w"),
}


class Finding(NamedTuple):
    """One thing that was looked at. `bad` must be changed, a `hint` may be; `remedy` says how."""

    name: str
    status: Status
    found: str
    remedy: str = ""


def findings(config: Config) -> Iterator[Finding]:
    """Look at everything; well under a second but for a slow disk and a long log, which is read whole."""
    yield _python()
    yield from _kernels()
    yield from _extras(config)
    yield _descriptors(config)
    yield _backlog(config)
    yield _ports()
    yield _collector()
    yield from _private_files(config)
    yield from _disk(Path(config.server.data_dir))
    if config.is_cluster:
        yield _stored_in_cluster(config)
    else:
        yield from _stored(Path(config.server.data_dir) / DATABASE)


def _python() -> Finding:
    version = platform.python_version()
    found = f"{platform.python_implementation()} {version} on {platform.system()} {platform.release()}"
    threads_free = not getattr(sys, "_is_gil_enabled", lambda: True)()
    if threads_free:
        return Finding("python", "hint", f"{found}, free-threaded", "use a build with the GIL: it is tested")
    return Finding("python", "ok", f"{found}, {os.cpu_count()} CPUs")


def _kernels() -> Iterator[Finding]:
    """Each kernel, whether it is compiled."""
    report = speedups.report()
    for name, compiled in report.items():
        if compiled:
            yield Finding(f"kernel {name}", "ok", "compiled")
        elif speedups.mode() in speedups.WRITTEN:
            yield Finding(f"kernel {name}", "hint", "switched off", "unset GATEWAY_SPEEDUPS")
        else:
            remedy = "install a C compiler, then `make -B venv` (or reinstall the package)"
            yield Finding(f"kernel {name}", "hint", "not built: the pure twin runs, slower", remedy)


def _extras(config: Config) -> Iterator[Finding]:
    """What the configuration needs beyond every installation."""
    for extra in extras.wanted(config):
        if (problem := extra.problem()) is not None:
            yield Finding(f"extra {extra.name}", "bad", problem, extra.remedy)
        else:
            yield Finding(f"extra {extra.name}", "ok", f"installed, for {extra.setting}")


def _descriptors(config: Config) -> Finding:
    connections_max = config.server.connections_max
    now = interpreter.descriptors()
    found = f"{now.soft:,} now, {now.hard:,} at most, for {connections_max:,} connections"
    remedy = interpreter.descriptors_remedy(connections_max, now.hard)
    return Finding("descriptors", "bad" if remedy else "ok", found, remedy or "")


def _backlog(config: Config) -> Finding:
    remedy = interpreter.backlog_remedy(config.server.listen_backlog)
    found = f"{config.server.listen_backlog:,} wanted"
    try:
        found += f", the kernel allows {int(interpreter.SOMAXCONN.read_text()):,}"
    except (OSError, ValueError):
        found += ", the kernel doesn't say what it allows"
    return Finding("listen backlog", "hint" if remedy else "ok", found, remedy or "")


def _ports() -> Finding:
    """Ports for outgoing connections: what a load generator or a proxy has for one address."""
    try:
        low, high = map(int, PORT_RANGE.read_text().split())
    except (OSError, ValueError):
        return Finding("port range", "ok", "the kernel doesn't say")
    found = f"{low}-{high}: {high - low + 1:,} connections from one address to one port"
    if high - low + 1 >= PORTS_MIN:
        return Finding("port range", "ok", found)
    remedy = "for load tests: sysctl -w net.ipv4.ip_local_port_range='32768 60999'"
    return Finding("port range", "hint", found, remedy)


def _collector() -> Finding:
    thresholds = ", ".join(map(str, interpreter.GC_THRESHOLDS))
    if not gc.isenabled():
        return Finding("collector", "bad", "switched off", "something calls gc.disable(); memory would grow")
    return Finding("collector", "ok", f"thresholds {thresholds} while serving, start-up frozen")


def _private_files(config: Config) -> Iterator[Finding]:
    """Files that the gateway's user and group read, and nobody else; that only their owner changes."""
    data = Path(config.server.data_dir)
    paths = [secret_path(config), config.server.tls_key, data / DATABASE, data / f"{DATABASE}-wal"]
    sections = config.redis, config.postgres, config.search, config.authoriser
    paths += [section.password_file for section in sections]
    private = {Path(path): OTHERS_READ for path in paths if path}
    if config.auth.jwks_file:
        private[Path(config.auth.jwks_file)] = OTHERS_WRITE  # public keys: reading them is harmless
    for path, forbidden in private.items():
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue  # not there yet; the start says what is missing
        if not mode & forbidden:
            yield Finding("private files", "ok", f"{path} is {mode:04o}")
            continue
        others, change = REMEDIES[forbidden]
        remedy = f"others can {others}: chmod {change} {path}"
        yield Finding("private files", "bad", f"{path} is {mode:04o}", remedy)


def _disk(data: Path) -> Iterator[Finding]:
    """Free space, and how long a commit waits for the disk."""
    place = next(path for path in (data.absolute(), *data.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    enough = free >= FREE_BYTES_MIN
    remedy = (
        "" if enough else "free some, or set server.data_dir to a larger disk: a full disk stops all edits"
    )
    yield Finding("free space", "ok" if enough else "bad", f"{free / (1 << 30):.1f} GiB at {place}", remedy)
    try:
        fsync_ms = fsync_time_ms(place)
    except OSError as error:
        remedy = f"{_to_write(place, error)}choose another --data"
        yield Finding("disk", "bad", f"can't write to {place}: {error.strerror}", remedy)
        return
    fast = fsync_ms <= FSYNC_GOOD_MS
    remedy = "" if fast else "each commit waits so long: use a local SSD with power-loss protection"
    yield Finding("disk", "ok" if fast else "hint", f"fsync of a page takes {fsync_ms:.2f} ms", remedy)


def _to_write(place: Path, error: OSError) -> str:
    """What lets the next file be written there."""
    if not place.is_dir():
        return ""
    if error.errno in FORBIDDEN:
        return f"make {place} writable, or "
    return "make room there, see what `dmesg` says of the disk, or "


def _stored(database: Path) -> Iterator[Finding]:
    """Whether what is stored is what was written, where there is an embedded log."""
    try:
        if database.exists():
            yield _checked(check(database), str(database))
    except PermissionError as error:
        yield _unread(f"{database} can't be read: {error.strerror}")
    except LogError as error:
        yield _unread(str(error))


def _unread(found: str) -> Finding:
    remedy = (
        "see that its disk has room, what `dmesg` says of it, and that you may read it: as root, or as the "
        "gateway's user"
    )
    return Finding("stored changes", "bad", found, remedy)


def _stored_in_cluster(config: Config) -> Finding:
    """The same of Redis and the archive."""
    try:
        return _checked(with_stores(config, check_cluster), "Redis and the archive")
    except ConfigError as error:
        return Finding("stored changes", "bad", "can't be read", str(error))
    except LogError as error:
        return Finding("stored changes", "bad", f"can't be read: {error}", "see that the servers answer")


def _checked(checked: Checked, where: str) -> Finding:
    found = f"{counted(checked.changes, 'change')} in {where}"
    if checked.without_checksum:
        found += f", {checked.without_checksum:,} from before there were checksums"
    if not checked.damaged:
        return Finding("stored changes", "ok", found)
    found += f"; {checked.damaged:,} damaged: {', '.join(checked.named)}"
    remedy = "restore a backup; the gateway refuses to serve what is damaged, and leaves it as it is"
    return Finding("stored changes", "bad", found, remedy)


def fsync_time_ms(directory: Path) -> float:
    """Median time to write a page and have it on the disk. Raises OSError."""
    times_ms = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(FSYNC_TRIES):
            start_s = time.perf_counter()
            file.write(os.urandom(PAGE_BYTES))
            os.fsync(file.fileno())
            times_ms.append((time.perf_counter() - start_s) * 1000)
    return statistics.median(times_ms)
