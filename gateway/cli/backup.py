"""`gateway backup`, `restore` and `import`: everything in one file, and from there into any gateway."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from gateway.cli.options import of_cluster
from gateway.config import Config
from gateway.errors import ConfigError
from gateway.log import backup_file
from gateway.log.backup_file import BackupReader, Contents
from gateway.log.cluster import backup as cluster_backup
from gateway.log.cluster.backup import Stores
from gateway.log.sqlite import backup as sqlite_backup
from gateway.log.sqlite.log import DATABASE, DirectoryLock


@click.command("backup", short_help="Write everything into one file, while the gateway serves.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--replace", is_flag=True, help="Write over a file that is there.")
@of_cluster
def backup_command(file: Path, replace: bool, config: Config) -> None:
    """Write everything that was acknowledged so far into FILE, while the gateway serves.

    FILE is a database in the format of the embedded log, whole or not there at all; `gateway restore` reads
    it. The keys that sign tokens aren't in it, nor what is revoked, the flags and the record of acts.

    \b
    gateway backup /backups/monday.sqlite3 --data /var/lib/gateway
    gateway backup /backups/monday.sqlite3 --redis redis://10.0.0.5 --postgres postgresql://gateway@10.0.0.6/gateway
    """
    if file.exists() and not replace:
        raise ConfigError(f"{file} is there: name another file, or give --replace")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"there is no directory {file.parent}: make it, or name another file")
    if config.is_cluster:
        contents = cluster_backup.with_stores(config, lambda found: cluster_backup.backup(found, file))
    else:
        contents = sqlite_backup.backup(Path(config.server.data_dir), file)
    click.echo(f"{_told(contents)} in {file}")
    if contents.gaps:
        click.echo(f"history of {contents.gaps:,} resources begins after a gap: what came before is missing")


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
    return f"{contents.changes:,} changes of {contents.resources:,} resources"
