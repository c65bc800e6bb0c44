"""The id tags that may charge: a file with one in each line, read again when it changes. Without a file every tag may."""

from pathlib import Path

from broker.errors import InvalidSetting
from broker.log import Log

log = Log(__name__)


class IdTags:
    """The list of id tags. Upper and lower case are the same (OCPP 1.6, `CiString`).

    Args:
        file: one tag in each line, `#` begins a comment; None: every tag is accepted.

    Raises:
        InvalidSetting: the file cannot be read.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._version: tuple[int, int] | None = None
        self._tags: frozenset[str] = frozenset()
        if file is not None:
            try:
                self._read(file)
            except (OSError, UnicodeDecodeError) as error:
                raise InvalidSetting(f"SCAUP_CHARGER_TAGS: {file} cannot be read: {error}") from error

    def accept(self, tag: str) -> bool:
        """Return whether a tag may charge."""
        return self._file is None or tag.strip().casefold() in self._tags

    def refresh(self) -> None:
        """Read the file if it has changed; while it cannot be read, the list stays as it is."""
        if self._file is None:
            return
        try:
            if self._version_of(self._file) != self._version:
                self._read(self._file)
        except (OSError, UnicodeDecodeError) as error:
            if self._version is not None:
                log.error("id-tags-unreadable", "the list of id tags stays as it was: %(error)s", error=error)
            self._version = None

    def _read(self, file: Path) -> None:
        version = self._version_of(file)
        lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines())
        self._tags, self._version = frozenset(each.casefold() for each in lines if each), version
        log.info("id-tags-loaded", "%(count)d id tags", count=len(self._tags))

    @staticmethod
    def _version_of(file: Path) -> tuple[int, int]:
        status = file.stat()
        return status.st_mtime_ns, status.st_size
