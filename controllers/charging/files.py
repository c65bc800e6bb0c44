"""The file with the pairs: all that the charging controller reads from disk."""

import logging
from pathlib import Path

from broker.contract.charging.topics import Pairs
from controllers.charging.declaration import PAIRS_FILE
from controllers.charging.pairs import InvalidPairs, read_pairs

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).with_name("pairs.json")

Version = tuple[int, int, int]
"""Modification time in ns, size in bytes, inode: it changes when the file is written or replaced."""


class PairsFile:
    """The pairs in a file that may be edited at any time; `path` empty: the shipped file.

    Raises:
        InvalidPairs: the path names the home directory of an unknown user.
    """

    def __init__(self, path: str = "") -> None:
        try:
            self._path = Path(path).expanduser() if path else SHIPPED
        except RuntimeError as error:
            raise InvalidPairs(f"{PAIRS_FILE.name}: {path}: {error}") from error
        self._read_version: Version | None = None
        """None: the file could not be read at all, so every poll retries."""
        self._logged: tuple[Version | None, str] | None = None

    def read(self) -> Pairs:
        """Read and check the file.

        Raises:
            InvalidPairs: it cannot be read or used; the text names the variable, the file, and the entry.
        """
        try:
            self._read_version = self._version()
            return read_pairs(self._path.read_bytes())
        except (OSError, ValueError) as error:  # InvalidPairs is a ValueError, as is a null character in the path
            if not isinstance(error, InvalidPairs):
                self._read_version = None
            raise InvalidPairs(f"{PAIRS_FILE.name}: {self._path}: {_reason(error)}") from error

    def poll(self) -> Pairs | None:
        """Read and check the file if it has changed; None if not, or if it cannot be used, which is logged once."""
        if self._is_unchanged():
            return None
        try:
            pairs = self.read()
        except InvalidPairs as error:
            self._log_once(error)
            return None
        self._logged = None
        return pairs

    def _is_unchanged(self) -> bool:
        try:
            return self._read_version is not None and self._version() == self._read_version
        except (OSError, InvalidPairs):
            return False  # `read` reports the reason

    def _version(self) -> Version:
        if self._path.exists() and not self._path.is_file():  # reading a pipe would block
            raise InvalidPairs("it is not a file")
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _log_once(self, error: Exception) -> None:
        problem = self._read_version, str(error)
        if problem != self._logged:
            log.error("%s\nThe pairs stay unchanged.", error)
        self._logged = problem


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
