"""The outbox: what the recorder writes for the lake, and the forwarder reads, in the folder `outbox` of the data directory.

    outbox/{incarnation}/{first}-{last}/{table}.parquet    the rows of the messages with these numbers, a file for each table
    outbox/{incarnation}/recorded                          the number of the newest message of the database
    outbox/{incarnation}/upto                              the number up to which the lake has all messages

A folder with numbers is complete: it gets its name when its files are durable. The recorder writes what follows `upto` without
a gap and removes nothing; the forwarder removes what the lake has. So either may be killed, and either may run alone.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

OUTBOX = "outbox"
LAKE_FILE = "lake.toml"
"""The file of the data directory with the site's access to the lake."""
UPTO = "upto"
RECORDED = "recorded"
MESSAGES = "messages"
NOT_FORWARDED = ("session", "packet_id")
"""Columns of `messages` that mean nothing outside the database file."""

_RANGE = re.compile(r"(\d{12,})-(\d{12,})")


class Range(NamedTuple):
    """The messages with the numbers from `first` to `last`."""

    first: int
    last: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.first:012d}-{self.last:012d}"


def ranges(names: Iterable[str]) -> list[Range]:
    """Return the complete ranges among the entries of an incarnation's folder, in ascending order."""
    found = (_RANGE.fullmatch(name) for name in names)
    return sorted(Range(int(each[1]), int(each[2])) for each in found if each)


def covered(upto: int, known: Iterable[Range]) -> int:
    """Return the number up to which ranges in ascending order continue `upto` without a gap."""
    for each in known:
        if each.first > upto + 1:
            break
        upto = max(upto, each.last)
    return upto
