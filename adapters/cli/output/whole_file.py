"""A file that is there as a whole or not at all."""

import errno
import fcntl
import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from adapters.client.errors import Failed, WrongUsage

_GZIP_LEVEL = 6


def check_target(path: Path, *, force: bool) -> None:
    """Check, before any work, that a file can be written.

    Raises:
        WrongUsage: its folder is missing or it is one itself, or it exists and `force` is not given.
    """
    if not path.parent.is_dir():
        raise WrongUsage(f"there is no folder {path.parent}", f"type: mkdir -p {path.parent}")
    if path.is_dir():
        raise WrongUsage(f"{path} is a folder", f"name a file in it: {path / 'messages.parquet'}")
    if path.is_file() and not force:
        raise WrongUsage(f"{path} exists", "add --force to replace it, or choose another name")


@contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Write to `{path}.part`, which becomes `path` when the block ends without an error and goes away otherwise.

    What ends in .gz is compressed. A pipe or a device is written as it is.

    Raises:
        WrongUsage: the file cannot be written where it is wanted.
        Failed: the disk is full, or refuses.
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
    with suppress(OSError):  # not every file system has it
        os.fsync(descriptor)
    os.close(descriptor)


def _failure(path: Path, error: OSError) -> Failed:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failed(f"the disk is full: {path} was not written", "make room, or write to another disk")
    return Failed(f"cannot write {path}: {error.strerror or error}", "choose another --output-file")
