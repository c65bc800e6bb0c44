"""The outbox as the forwarder sees it: the next batch of an incarnation, and the removal of what the lake has."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from broker.contract.outbox import OUTBOX, RECORDED, UPTO, Range, ranges

LARGEST_BATCH = 200_000
"""Messages in one commit at most."""
LARGEST_BATCH_BYTES = 64 << 20
"""Bytes of Parquet in one commit of more than one range: sorting their rows has to fit into memory."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages from `first` to `last`, with the files of each table that has rows of them."""

    first: int
    last: int
    files: dict[str, list[Path]]


class Waiting:
    """The folders of one data directory's outbox."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / OUTBOX
        for leftover in self._root.glob("*/*.done"):
            shutil.rmtree(leftover, ignore_errors=True)

    @property
    def spill(self) -> Path:
        """The folder for what does not fit into the forwarder's memory."""
        return self._root / ".spill"

    def incarnations(self) -> list[str]:
        """Return the database files for which there is a folder, the oldest first."""
        if not self._root.is_dir():
            return []
        return sorted(each.name for each in self._root.iterdir() if each.name.isdecimal())

    def has_ranges(self, incarnation: str) -> bool:
        """Return whether anything waits."""
        return bool(self._ranges(incarnation))

    def recorded(self, incarnation: str) -> int:
        """Return the number of the newest message that the recorder noted, 0 if it noted none."""
        try:
            return int((self._root / incarnation / RECORDED).read_text() or 0)
        except (OSError, ValueError):
            return 0

    def next_batch(self, incarnation: str, upto: int, largest: int) -> Batch | None:
        """Return what follows `upto`, `largest` messages at most unless one range has more; None if it is not there."""
        files: dict[str, list[Path]] = {}
        last, size = upto, 0
        for each in self._ranges(incarnation):
            if each.first > last + 1:
                break
            if each.last <= last:
                continue
            found = sorted((self._root / incarnation / each.name).glob("*.parquet"))
            more = sum(path.stat().st_size for path in found)
            if last > upto and (each.last - upto > largest or size + more > LARGEST_BATCH_BYTES):
                break
            for path in found:
                files.setdefault(path.stem, []).append(path)
            last, size = each.last, size + more
        return Batch(upto + 1, last, files) if last > upto else None

    def confirm(self, incarnation: str, upto: int) -> None:
        """Write down up to which number the lake has all messages, and remove the ranges that are whole in it."""
        folder = self._root / incarnation
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = folder / f".{UPTO}"
        draft.write_text(str(upto))
        draft.replace(folder / UPTO)
        for each in self._ranges(incarnation):
            if each.last <= upto:
                done = (folder / each.name).rename(folder / f"{each.name}.done")
                shutil.rmtree(done, ignore_errors=True)

    def remove(self, incarnation: str) -> None:
        """Remove the folder of a database file that is no longer there, when nothing in it waits."""
        shutil.rmtree(self._root / incarnation, ignore_errors=True)

    def _ranges(self, incarnation: str) -> list[Range]:
        try:
            return ranges(each.name for each in (self._root / incarnation).iterdir())
        except FileNotFoundError:
            return []
