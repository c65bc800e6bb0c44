"""`scaup backup`: Back up everything to a folder, while it records."""

import secrets
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapters.cli.backups import in_containers, run_in_container, storage_errors
from adapters.cli.options import examples
from adapters.cli.output.progress import Steps
from adapters.client.errors import Failed, Unreachable
from adapters.client.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.contract.storage.topics import StorageRequest
    from storage.backup.folder import BackupFolder, Outcome
    from storage.backup.manifest import Manifest, Snapshot

Report = Callable[[str, int, int], None]


@click.command(epilog=examples("scaup backup /tmp/scaup-backup", "scaup backup /tmp/scaup-backup --check"))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--check", "only_check", is_flag=True, help="Check the backup that is there: every file, its digest and its rows."
)
@click.pass_obj
def backup(session: Session, folder: Path, only_check: bool) -> None:
    """Back up everything to a folder, while it records.

    \b
    the recording    database and archive, up to one message number
    the installation credentials, accounts, client ids, certificates, pairs, catalog, declarations, plant time
    the settings     .env, and files that settings name

    A later run into the same folder writes only what has changed. What is written is read back and compared. A run that is
    interrupted leaves the backup before it. Where no recorder runs, the database file itself is read. FOLDER should be on
    another disk; it holds passwords, and only its owner can read it.
    """  # noqa: D301 - click's mark for lines that are not wrapped
    with Steps() as steps, storage_errors():
        if in_containers(session.settings):
            click.echo(run_in_container(session.settings, folder, ["backup", *["--check"] * only_check]), nl=False)
            return
        text = _check(folder, steps.show) if only_check else _back_up(session, folder, steps.show)
    click.echo(text)


def _check(folder: Path, report: Report) -> str:
    from storage.backup.folder import check

    manifest = check(folder, report)
    return (
        f"the backup of {manifest.at:%Y-%m-%d %H:%M:%S}Z is whole: messages up to {manifest.number:,}, "
        f"{len(manifest.stored):,} files, {_size(manifest.size)}"
    )


def _back_up(session: Session, path: Path, report: Report) -> str:
    from broker.runtime.settings import ROOT, release
    from storage.backup.files import data_files, settings_files
    from storage.backup.folder import BackupFolder, locked
    from storage.database.opening import backing_up

    settings = session.settings
    data_dir = settings.data_dir.resolve()
    if not data_dir.is_dir():
        raise Unreachable(f"there is no data directory {data_dir}", "name it with SCAUP_DATA_DIR")
    folder = BackupFolder(path, data_dir)
    staging = backing_up(data_dir / settings.database.name)
    with locked(data_dir / "backup.lock", f"another backup of {data_dir} is running; wait for it"), folder.in_use() as before:
        try:
            snapshot = _snapshot(session, _request(folder, before), staging, _taking(folder, staging, report))
            files = data_files(data_dir) | settings_files(ROOT / ".env", settings.environment, data_dir)
            outcome = folder.finish(snapshot, before, staging, files, release())
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return _summary(outcome, before)


def _request(folder: "BackupFolder", before: "Manifest | None") -> "StorageRequest":
    """Return the request for what the backup does not have."""
    from broker.contract.storage.topics import Action, StorageRequest

    database = None if before is None else before.database
    return StorageRequest(action=Action.BACKUP, name=secrets.token_hex(8), held=folder.held(before), database=database)


def _taking(folder: "BackupFolder", staging: Path, report: Report) -> Report:
    """Return a report that also takes what is complete, so that the disk of the recorder holds little of it."""

    def take(doing: str, done: int, total: int) -> None:
        report(doing, done, total)
        folder.take_parts(staging)

    return take


def _snapshot(session: Session, request: "StorageRequest", staging: Path, report: Report) -> "Snapshot":
    """Let the recorder write what the backup needs, or write it from the file where no recorder runs.

    Raises:
        ClientError: neither is possible.
    """
    from storage.backup.snapshot import read_snapshot

    try:
        session.carry_out(request, lambda progress: report(progress.doing, progress.done, progress.total))
    except Unreachable as error:
        return _from_file(session, error, request, staging, report)
    snapshot = read_snapshot(staging)
    if snapshot is None or snapshot.token != request.name:
        raise Failed(
            f"the recorder made the backup, but not in {staging}: its data directory is another one",
            "run the command where the recorder runs, with its SCAUP_DATA_DIR",
        )
    return snapshot


def _from_file(session: Session, error: Unreachable, request: "StorageRequest", staging: Path, report: Report) -> "Snapshot":
    from adapters.cli.session import recorder_waits, watching
    from storage.backup.snapshot import SnapshotWriter, check_free
    from storage.errors import BackupFailed, DatabaseLocked
    from storage.query.sandbox import open_read_only

    database = session.settings.database.resolve()
    if not database.exists():
        raise Unreachable(f"{error.message}, and there is no database at {database}", error.fix) from error
    try:
        connection = open_read_only(database, staging)
    except DatabaseLocked as locked_error:
        raise Unreachable(
            f"{locked_error}; and {error.message}", "repeat the command when the recorder is online"
        ) from locked_error
    session.hint(f"{error.message}: backing up {database.name} itself")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)
    gave_way = False
    given_way = Unreachable("a recorder starts and needs the database file", "repeat the command: the recorder makes it")

    def give_way() -> None:
        nonlocal gave_way
        gave_way = True
        connection.interrupt()

    @contextmanager
    def cursor() -> "Iterator[object]":
        if gave_way:
            raise given_way
        yield connection

    try:
        with watching(lambda: recorder_waits(database), give_way):
            writer = SnapshotWriter(cursor, staging, database.with_name("archive"), check_free(database), report)  # type: ignore[arg-type]
            return writer.write(None, request.held, request.database, request.name or "")
    except BackupFailed:
        if gave_way:
            raise given_way from None
        raise
    finally:
        connection.close()


def _summary(outcome: "Outcome", before: "Manifest | None") -> str:
    manifest = outcome.manifest
    new = manifest.number - (before.number if before else 0)
    linked = f", {outcome.linked:,} of the archive linked" if outcome.linked else ""
    return (
        f"backed up the messages up to {manifest.number:,} ({new:,} new), verified: {outcome.written:,} files with "
        f"{_size(outcome.written_bytes)} written{linked}; the backup has {len(manifest.stored):,} files, {_size(manifest.size)}"
    )


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"
