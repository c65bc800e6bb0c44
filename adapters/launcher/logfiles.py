"""Shows the ends of log files, and follows them through their rotation."""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

LOOK_EVERY_S = 0.2


def show(files: Mapping[str, Path], lines: int, follow: bool, write: Callable[[str], None]) -> None:
    """Write the last lines of each file and, with `follow`, what is added from now on, until interrupted.

    Each line begins with the name of its file where there is more than one.
    """
    width = max(map(len, files), default=0) if len(files) > 1 else 0
    followed = [_Follower(f"{name:<{width}} | " if width else "", path) for name, path in files.items()]
    for each in followed:
        for line in each.last(lines):
            write(line)
    while follow:
        for each in followed:
            for line in each.new():
                write(line)
        time.sleep(LOOK_EVERY_S)


class _Follower:
    """One log file, read up to an offset."""

    def __init__(self, prefix: str, path: Path) -> None:
        self._prefix, self._path = prefix, path
        self._offset, self._inode = 0, 0

    def last(self, count: int) -> list[str]:
        return list(deque(self.new(), maxlen=count))

    def new(self) -> list[str]:
        """Return the complete lines that were added. A file that was replaced is read from its beginning."""
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._inode or found.st_size < self._offset:
                    self._offset, self._inode = 0, found.st_ino
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [self._prefix + line for line in whole.decode(errors="replace").splitlines()]
