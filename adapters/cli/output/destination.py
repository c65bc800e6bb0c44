"""The destination of a result: standard output, a file, or a file that appears only when it is complete."""

import errno
import fcntl
import gzip
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from adapters.cli.output.formats import Format
from adapters.client.errors import Failed, WrongUsage
from adapters.client.rows import Result, Rows

_GZIP_LEVEL = 6

Columns = Mapping[str, Callable[[dict[str, Any]], Any]]
"""The columns of a table for people: heading → the function that picks the value from a row."""


@dataclass(frozen=True, slots=True)
class Output:
    """The format of a result and where it goes; made from the options `-o` and `--output-file`."""

    format: Format
    path: Path | None = None

    @classmethod
    def of(cls, wanted: str | None, path: Path | None) -> "Output":
        """Choose the format: the wanted one, that of the file's ending, a table on a terminal, JSON lines in a pipe.

        Raises:
            WrongUsage: Parquet would go to a terminal.
        """
        chosen = Format(wanted) if wanted else _suited_to(path)
        if chosen is Format.PARQUET and path is None and sys.stdout.isatty():
            raise WrongUsage("Parquet is binary and standard output is a terminal", "add --output-file FILE, or pipe it on")
        return cls(chosen, path)

    @property
    def on_terminal(self) -> bool:
        """Whether the rows appear on a terminal while they are written."""
        return self.path is None and sys.stdout.isatty()

    def write(self, result: Result) -> None:
        """Write a whole result.

        Raises:
            Failed: the file cannot be written.
        """
        with self.opened() as file:
            self.format.write(result, file)

    def write_dicts(
        self, rows: Sequence[dict[str, Any]], for_people: Columns | None = None, remarks: Sequence[str] = ()
    ) -> None:
        """Write the rows of a query, at least one; people get the columns `for_people` instead of all, and the remarks below.

        Raises:
            Failed: the file cannot be written.
        """
        if for_people is not None and self.format.for_people:
            with self.opened() as file:
                self.format.write(Rows(list(for_people), [[show(row) for show in for_people.values()] for row in rows]), file)
                if remarks:
                    file.write("\n".join(["", *remarks, ""]).encode())
                    file.flush()
        else:
            self.write(Rows(list(rows[0]), [list(row.values()) for row in rows]))

    def opened(self) -> AbstractContextManager[IO[bytes]]:
        """Open the file; standard output stays open after the block.

        Raises:
            Failed: the file cannot be written.
        """
        if self.path is None:
            sys.stdout.flush()
            return nullcontext(sys.stdout.buffer)
        try:
            return self.path.open("wb")
        except OSError as error:
            raise Failed(f"cannot write {self.path}: {error.strerror}", "choose another --output-file") from error

    def opened_whole(self, *, force: bool) -> AbstractContextManager[IO[bytes]]:
        """Open the file as `whole_file` does; standard output as `opened` does.

        Raises:
            WrongUsage: the file exists and `force` is not given, or it cannot be there.
            Failed: the disk is full, or the file cannot be written.
        """
        return self.opened() if self.path is None else whole_file(self.path, force=force)


def _suited_to(path: Path | None) -> Format:
    if path is not None:
        return Format.of_suffix(path.suffix) or Format.JSONL
    return Format.TABLE if sys.stdout.isatty() else Format.JSONL


def check_target(path: Path, *, force: bool) -> None:
    """Check, before any work, that a file can be written.

    Raises:
        WrongUsage: its folder is missing, it is a folder itself, or it exists and `force` is not given.
    """
    if not path.parent.is_dir():
        raise WrongUsage(f"there is no folder {path.parent}", f"type: mkdir -p {path.parent}")
    if path.is_dir():
        raise WrongUsage(f"{path} is a folder", f"name a file in it: {path / 'messages.parquet'}")
    if path.is_file() and not force:
        raise WrongUsage(f"{path} exists", "add --force to replace it, or choose another name")


@contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Write to `{path}.part`, which becomes `path` when the block ends without an error and is deleted otherwise.

    A file whose name ends in .gz is compressed. A pipe or a device is written directly.

    Raises:
        WrongUsage: the file exists and `force` is not given, or it cannot be there.
        Failed: the disk is full, or the file cannot be written.
    """
    check_target(path, force=force)
    target = path.resolve()
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as device, _compressed(device, path) as file:
                yield file
        else:
            with _part(target, force=force) as part, _compressed(part, path) as file:
                yield file
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise _failure(path, error) from error


@contextmanager
def _part(target: Path, *, force: bool) -> Iterator[IO[bytes]]:
    part = target.with_name(f"{target.name}.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        _lock(file, part)
        try:
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
            check_target(target, force=force)
            part.replace(target)
            _sync_folder(target.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _lock(file: IO[bytes], part: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WrongUsage(f"another export is writing {part}", "wait for it, or choose another name") from None


@contextmanager
def _compressed(file: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    if path.suffix != ".gz":
        yield file
        return
    with gzip.GzipFile(path.name.removesuffix(".gz"), "wb", _GZIP_LEVEL, file) as packed:
        yield packed  # type: ignore[misc]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    with suppress(OSError):  # not every file system supports it
        os.fsync(descriptor)
    os.close(descriptor)


def _failure(path: Path, error: OSError) -> Failed:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failed(f"the disk is full: {path} was not written", "make room, or write to another disk")
    return Failed(f"cannot write {path}: {error.strerror or error}", "choose another --output-file")
