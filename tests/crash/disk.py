"""A small file system that a ballast file can fill."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.crash.errors import Skipped

MIB = 1024 * 1024


class SmallDisk:
    """A file system of a few MiB, mounted at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, left_bytes: int) -> None:
        """Fill the free space with ballast, except for `left_bytes`."""
        taken = self._ballast.stat().st_size if self._ballast.exists() else 0
        more = shutil.disk_usage(self.folder).free - left_bytes
        if more <= 0:
            return
        with self._ballast.open("ab") as file:
            os.posix_fallocate(file.fileno(), taken, more)

    def free(self) -> None:
        """Remove the ballast."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[SmallDisk]:
    """Mount a file system in memory.

    Raises:
        Skipped: this user may not mount (a loop-back file would need the same right).
    """
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=700", "scaup-crash", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=10, check=False)
    except OSError as error:
        raise Skipped(f"no small file system can be mounted: {error}") from error
    if done.returncode:
        raise Skipped(f"no small file system can be mounted, run it as root: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, timeout=10)
