"""`gateway backup`, `restore` and `import`: everything in one file, and from there into any gateway."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import click

from gateway.cli.options import counted, of_cluster
from gateway.config import Config
from gateway.errors import ConfigError, GatewayError
from gateway.log import backup_file, backup_series
from gateway.log.backup_file import BackupReader, Contents
from gateway.log.cluster import backup as cluster_backup
from gateway.log.cluster import backup_note
from gateway.log.cluster.backup import Stores
from gateway.log.sqlite import backup as sqlite_backup
from gateway.log.sqlite.log import DATABASE, DirectoryLock
from gateway.redislink.shards import Shards
from gateway.runtime.clock import unix_ms


@click.command("backup", short_help="Write everything into one file, while the gateway serves.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Write over a file that is there.")
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="N",
    help="FILE is a directory: its files are named by the time, and the newest N stay.",
)
@of_cluster
def backup_command(file: Path, replace: bool, keep: int | None, config: Config) -> None:
    """Write everything that was acknowledged so far into FILE, while the gateway serves.

    FILE is a database in the format of the embedded log, whole or not there at all; `gateway restore` reads
    it. The keys that sign tokens aren't in it, nor what is revoked, the flags and the record of acts.

    With --keep, for backups by the clock, nodes publish how old the newest is, or, until one was made, the
    first attempt.

    \b
    gateway backup /backups/monday.sqlite3 --data /var/lib/gateway
    gateway backup /backups --keep 14 --data /var/lib/gateway
    gateway backup /backups/monday.sqlite3 --redis redis://10.0.0.5 --postgres postgresql://gateway@10.0.0.6/gateway
    """
    if keep is None:
        _tell(_back_up(config, file, replace), file)
    else:
        _back_up_by_the_clock(config, file, replace, keep)


def _back_up_by_the_clock(config: Config, folder: Path, replace: bool, keep: int) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: with --keep, name the directory that its backups are in")
    begun_ms = unix_ms()
    target = backup_series.file_of(folder, begun_ms)
    with suppress(GatewayError):  # what is wrong is told below
        _note(config, begun_ms, only_first=True)
    contents = _back_up(config, target, replace)
    try:
        backup_series.thin(target, keep)
    finally:
        _note_made(config, begun_ms, target)
    _tell(contents, target)  # last: nobody may be there to read it, and what is said to a full disk fails


def _note_made(config: Config, begun_ms: int, target: Path) -> None:
    try:
        _note(config, begun_ms, only_first=False)
    except GatewayError as error:
        raise ConfigError(f"{target} is whole, but nodes can't be told of it: {error}") from error


def _note(config: Config, begun_ms: int, only_first: bool) -> None:
    """Note this time where nodes see it: of the newest backup, or `only_first` of the first."""

    async def in_redis(shards: Shards) -> None:
        await backup_note.note(shards, begun_ms, only_first)

    data_dir = Path(config.server.data_dir)
    if config.is_cluster:
        cluster_backup.with_servers(config, in_redis)
    elif only_first:
        backup_series.note_first(data_dir, begun_ms)
    else:
        backup_series.note(data_dir, begun_ms)


def _back_up(config: Config, target: Path, replace: bool) -> Contents:
    _refuse(target, replace)
    return _written(config, target)


def _tell(contents: Contents, target: Path) -> None:
    """Say what is in it."""
    click.echo(f"{_told(contents)} in {target}")
    if contents.gaps:
        of = counted(contents.gaps, "resource")
        click.echo(f"history of {of} begins after a gap: what came before is missing")


def _refuse(target: Path, replace: bool) -> None:
    """Raise ConfigError where this can't be a backup's file."""
    if target.is_dir():
        raise ConfigError(f"{target} is a directory: name a file in it, or give --keep N to have it named")
    if target.exists() and not replace:
        raise ConfigError(f"{target} is there: name another file, or give --replace")
    if not target.absolute().parent.is_dir():
        raise ConfigError(f"there is no directory {target.parent}: make it, or name another file")


def _written(config: Config, target: Path) -> Contents:
    async def of_cluster(found: Stores) -> Contents:
        return await cluster_backup.backup(found, target)

    if config.is_cluster:
        return cluster_backup.with_stores(config, of_cluster)
    return sqlite_backup.backup(Path(config.server.data_dir), target)


@click.command("restore", short_help="Put a backup in place of what there is.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--replace", is_flag=True, help="Replace what is there.")
@of_cluster
def restore_command(file: Path, replace: bool, config: Config) -> None:
    """Put the backup FILE in place of what there is. No node may run.

    All resources go on in a new epoch: clients that saw more, or something else, are brought to what the
    backup has. What a lone gateway had is kept beside it, under another name; a cluster is erased.

    \b
    gateway restore /backups/monday.sqlite3 --data /var/lib/gateway --replace
    gateway restore /backups/monday.sqlite3 --redis redis://10.0.0.5 --postgres postgresql://gateway@10.0.0.6/gateway
    """
    if not config.is_cluster:
        contents = sqlite_backup.restore(file, Path(config.server.data_dir), replace)
    else:
        backup_file.verify(file)
        with tempfile.TemporaryDirectory(prefix="gateway-restore-") as folder:
            renewed = Path(folder) / "renewed.sqlite3"
            backup_file.copy(file, renewed)
            backup_file.renewed(renewed)
            contents = _filled(config, renewed, replace)
    click.echo(f"{_told(contents)} restored, in a new epoch")


@click.command("import", short_help="Move a lone gateway's log into a cluster.")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--replace", is_flag=True, help="Erase what the cluster holds.")
@of_cluster
def import_command(source: Path, replace: bool, config: Config) -> None:
    """Move a lone gateway's log (its directory, or a backup) into a cluster: history and epochs included.

    Stop the lone gateway first. Its clients resume at the nodes of the cluster where they were.

    \b
    gateway import /var/lib/gateway --redis redis://10.0.0.5 --postgres postgresql://gateway@10.0.0.6/gateway
    """
    if not config.is_cluster:
        raise ConfigError("name the cluster: --redis URL, and --postgres DSN for the whole history")
    lock = DirectoryLock(source) if source.is_dir() else None
    try:
        file = source / DATABASE if source.is_dir() else source
        backup_file.verify(file)
        contents = _filled(config, file, replace)
    finally:
        if lock is not None:
            lock.release()
    click.echo(f"{_told(contents)} imported")


def _filled(config: Config, file: Path, replace: bool) -> Contents:
    async def work(found: Stores) -> Contents:
        await cluster_backup.refuse_running(found)
        await cluster_backup.clear(found, replace)
        return await cluster_backup.fill(found, reader)

    with backup_file.readable(file) as current, BackupReader(current) as reader:
        return cluster_backup.with_stores(config, work)


def _told(contents: Contents) -> str:
    return f"{counted(contents.changes, 'change')} of {counted(contents.resources, 'resource')}"
