"""Sizes, names and durability of files."""

import os
from pathlib import Path


def part_path(path: Path) -> Path:
    """Return the name of a file while it is being written."""
    return path.with_name(path.name + ".part")


def wal_path(path: Path) -> Path:
    """Return the name of a database's write-ahead log."""
    return path.with_name(path.name + ".wal")


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


sync_folder = sync_file
"""Make a folder's entries durable."""


def file_size(path: Path) -> int:
    """Return the size of a file in bytes, 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
