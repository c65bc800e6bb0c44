"""Numbers for transactions of OCPP 1.6: whole numbers below 2³¹ of which none is used twice.

Eight adapters share them without asking each other: each takes every eighth number. A number is used only after the file says
that all up to it may have been, so a kill or a power cut skips some and repeats none. Where the file is lost, or comes from a
backup, three more things keep the numbers ahead: the transactions that the broker retains, and a floor that rises with the
calendar.
"""

from datetime import UTC, datetime
from pathlib import Path

from broker.log import Log
from broker.runtime.files import replace_file

log = Log(__name__)

PLACES = 8
"""As many adapters as may run at once."""
RESERVED = 100
"""Numbers that are taken from the file at once."""
PER_MINUTE = 4
"""How fast the floor rises: it reaches 2³¹ after 127 years."""
EPOCH_AT = datetime(2026, 1, 1, tzinfo=UTC)


class TransactionNumbers:
    """The numbers of one adapter.

    Args:
        file: holds the first number that was not reserved; it is written.
        place: of the adapter, 0 to 7.
        now: wall time.
    """

    def __init__(self, file: Path, place: int, now: datetime) -> None:
        self._file, self._place = file, place
        floor = max(1, int((now - EPOCH_AT).total_seconds() // 60) * PER_MINUTE)
        self._next = max(floor, _read(file))
        """Without the place: the number is eight times this and the place."""
        self._reserved = self._next

    def seen(self, number: int) -> None:
        """Take note of a number that is used already."""
        if number % PLACES == self._place:
            self._next = max(self._next, number // PLACES + 1)

    def take(self) -> int:
        """Return a number that was never used."""
        if self._next >= self._reserved:
            self._reserve()
        number = self._next * PLACES + self._place
        self._next += 1
        return number

    def _reserve(self) -> None:
        self._reserved = self._next + RESERVED
        try:
            replace_file(self._file, b"%d\n" % self._reserved)
        except OSError as error:
            log.warning(
                "transaction-numbers-not-kept",
                "the last transaction number cannot be written, so it is known from the broker only: %(error)s",
                error=error,
            )


def _read(file: Path) -> int:
    try:
        return int(file.read_text("ascii"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        log.warning("transaction-numbers-lost", "the last transaction number cannot be read: %(error)s", error=error)
        return 0
