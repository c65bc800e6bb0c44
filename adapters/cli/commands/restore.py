"""`scaup restore`: Restore a backup into an empty data directory."""

from pathlib import Path

import click

from adapters.cli.backups import image_in_use, restore_in_containers, storage_errors
from adapters.cli.notices import hint, warn
from adapters.cli.options import examples
from adapters.cli.output.progress import Steps
from adapters.client.session import Session


@click.command(epilog=examples("scaup restore /tmp/scaup-backup"))
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.pass_obj
def restore(session: Session, folder: Path) -> None:
    """Restore a backup into an empty data directory.

    The data directory is that of SCAUP_DATA_DIR; nothing may run on it.

    Everything is checked first. The backup may be of an earlier release: its database is migrated at the next start. Files that
    were outside the data directory, such as .env, are put into its folder `settings`, for comparison. Retained messages of the
    broker, such as setpoints, are restored too. A restore that is interrupted is repeated with the same command.
    """
    with Steps() as steps, storage_errors():
        if image_in_use():
            click.echo(restore_in_containers(session.settings, folder), nl=False)
            return
        text = _restore(session, folder.resolve(), steps)
    click.echo(text)


def _restore(session: Session, folder: Path, steps: Steps) -> str:
    from adapters.cli.retained import restore_retained
    from adapters.launcher import lifecycle
    from storage.backup.restore import restore as restore_backup

    database = session.settings.data_dir.resolve() / session.settings.database.name
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lifecycle.locked(database.parent):
        retained: list[int | None] = []
        manifest = restore_backup(
            folder, database, steps.show, lambda restored: retained.append(restore_retained(restored / database.name))
        )
    if retained == [None]:
        warn("there is no Mosquitto here, so the retained messages are not restored: set the setpoints again")
    if (settings := database.parent / "settings").is_dir():
        hint(f"settings of the backup are in {settings}: compare them with .env here")
    return (
        f"restored into {database.parent}: messages up to {manifest.number:,}, as of {manifest.at:%Y-%m-%d %H:%M:%S}Z; "
        "`make up` starts it, `scaup verify` balances it"
    )
