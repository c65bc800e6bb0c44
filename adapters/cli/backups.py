"""What the commands `backup` and `restore` share: errors of the storage as those of a command, and the way into containers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapters.client.errors import Failed
from broker.runtime.settings import Settings


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn errors of the storage and of the disk into those of a command.

    Raises:
        Failed: the backup could not be made, checked or restored.
    """
    import duckdb

    from storage.errors import StorageError, first_line

    try:
        yield
    except StorageError as error:
        text, _, fix = str(error).partition("; ") if "\n" not in str(error) else (str(error), "", "")
        raise Failed(text, fix) from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise Failed(
            f"{error.strerror or error}{where}: an earlier backup is unchanged", "make room, or choose another disk"
        ) from error
    except duckdb.Error as error:
        raise Failed(f"the database cannot be read: {first_line(error)}", "see `scaup doctor`") from error


def in_containers(settings: Settings) -> bool:
    """Return whether the system runs in containers, so that its data is not on this machine's disk but on their volume."""
    from adapters.launcher import lifecycle

    return not settings.database.exists() and lifecycle.runs_in_containers(settings)


def image_in_use() -> bool:
    """Return whether RUNTIME asks for containers."""
    from adapters.launcher import lifecycle

    return lifecycle.wants_containers()


def run_in_container(settings: Settings, folder: Path, words: Sequence[str], read_only: bool = False) -> str:
    """Run a command of `scaup` in a container that has the volume, and this machine's `folder` as /backup; return its output.

    Raises:
        ClientError: it failed.
    """
    from adapters.launcher import lifecycle

    return lifecycle.compose(settings).run_with_folder(folder.resolve(), words, read_only)


def restore_in_containers(settings: Settings, folder: Path) -> str:
    """Restore the backup in this machine's `folder` into the volume of the containers; return what the command wrote.

    Raises:
        ClientError: it failed.
    """
    from adapters.launcher import lifecycle

    return lifecycle.compose(settings).restore(folder.resolve())
