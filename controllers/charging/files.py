"""The file with the pairs: all that the charging controller reads from disk."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from broker.contract.charging.topics import Pairs
from broker.log import Log
from broker.runtime.files import replace_file
from controllers.charging.declaration import PAIRS_FILE
from controllers.charging.pairs import InvalidPairs, PairRefused, read_pairs

log = Log(__name__)

SHIPPED = Path(__file__).with_name("pairs.json")

OWN_NAME = "charger-pairs.json"
"""The file in the data directory that changes are kept in, unless another one is configured."""

Version = tuple[int, int, int]
"""Modification time in ns, size in bytes, inode: it changes when the file is written or replaced."""


class PairsFile:
    """The pairs in a file that may be edited at any time.

    Args:
        path: the file that the operator has named; empty: `own`.
        own: the file that the first change creates. Until it is there, the shipped one counts, which is never changed.

    Raises:
        InvalidPairs: the path names the home directory of an unknown user.
    """

    def __init__(self, path: str = "", own: Path | None = None) -> None:
        try:
            self._target = Path(path).expanduser() if path else own
        except RuntimeError as error:
            raise InvalidPairs(f"{PAIRS_FILE.name}: {path}: {error}") from error
        self._named = bool(path)
        self._read_version: Version | None = None
        """None: the file could not be read at all, so every poll retries."""
        self._logged: tuple[Version | None, str] | None = None

    @property
    def _path(self) -> Path:
        """The file that counts now."""
        target = self._target
        return SHIPPED if target is None or (not self._named and not target.exists()) else target

    def change(self, edit: Callable[[Mapping[str, str]], dict[str, str]]) -> Pairs:
        """Read the file, edit the pairs in it, write it as a whole, and return its new pairs.

        Raises:
            PairRefused: the edit is refused, or the file cannot be used or written: it stays as it is.
        """
        try:
            pairs = self.read()
        except InvalidPairs as error:
            raise PairRefused(f"the present pairs cannot be used, so correct them first: {error}") from error
        edited = edit(pairs.pairs)
        if edited == pairs.pairs:
            return pairs
        target = self._target
        if target is None:
            raise PairRefused("there is no data directory in which the pairs can be kept")
        try:
            replace_file(target, json.dumps(edited, ensure_ascii=False, indent=2).encode() + b"\n")
            self._read_version = self._version()
        except OSError as error:
            raise PairRefused(f"{target} cannot be written: {_reason(error)}") from error
        return Pairs(edited)

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
            log.error("pairs-unusable", "%(error)s\nThe pairs stay unchanged.", error=error)
        self._logged = problem


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
