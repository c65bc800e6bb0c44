"""Messages of a publisher, and its own record of those it sent and those the broker acknowledged.

Each sending goes over the wire once: a message without acknowledgement is resent as another attempt. So a sending that is
recorded twice was doubled by the broker or the recorder, never by its publisher.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

TOPICS = "/readings/crash-%/temperature"
"""All topics of the publishers, as a pattern for SQL."""


class Sending(NamedTuple):
    """One attempt, counted from 1, to publish message `number` of a publisher; `padding` bytes make the payload larger."""

    publisher: int
    number: int
    attempt: int
    padding: int = 0

    @property
    def topic(self) -> str:
        """A topic that has a typed table."""
        return f"/readings/crash-{self.publisher}/temperature"

    @property
    def payload(self) -> str:
        """A text that no other sending has."""
        publisher, number, attempt, padding = self
        return (
            f'{{"publisher":{publisher},"n":{number},"attempt":{attempt},"sensorID":"{publisher}-{number}-{attempt}",'
            f'"type":"temperature","value":{15 + number % 100 / 10},"padding":"{"x" * padding}"}}'
        )

    def retry(self) -> "Sending":
        """Return the next attempt."""
        return self._replace(attempt=self.attempt + 1)


@dataclass(slots=True)
class Record:
    """The publishers' records: everything they sent, and the wall time in seconds at which the broker acknowledged it."""

    sent: set[Sending] = field(default_factory=set)
    acknowledged: dict[Sending, float] = field(default_factory=dict)

    def add_file(self, path: Path) -> None:
        """Add the file of a publisher, one line for each group."""
        with path.open() as lines:
            for line in lines:
                group = json.loads(line)
                self.sent.update(Sending(*each) for each in group["sent"])
                self.acknowledged.update((Sending(*each), group["at_s"]) for each in group["acknowledged"])


def line(sent: Iterable[Sending], acknowledged: Iterable[Sending], at_s: float) -> str:
    """Return the line of a publisher's file for one group, whose last acknowledgement came at wall time `at_s`."""
    return json.dumps({"at_s": at_s, "sent": list(sent), "acknowledged": list(acknowledged)}, separators=(",", ":")) + "\n"
