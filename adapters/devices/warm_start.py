"""What the recorder knows at a start: which publications it has, and the newest device time of each declaration. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from adapters.devices.declaration import NAME
from adapters.devices.declared import Declared
from adapters.devices.journal import Entry
from broker.contract.storage.topics import QueryRequest
from broker.stamp import HISTORY

PUBLISHED_SQL = """
SELECT boot, list(seq) AS seqs FROM messages
WHERE source = '{name}' AND received_at > now() - INTERVAL 15 DAY AND seq IS NOT NULL AND ({starts}) GROUP BY boot
"""
NEWEST_SQL = """
SELECT topic, CASE WHEN starts_with(topic, '/readings/') AND json_valid(payload) THEN payload->>'$.sensorID' END AS sensor,
    strftime(max(event_at) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ') AS newest
FROM messages
WHERE source = '{NAME}' AND event_at IS NOT NULL AND received_at > now() - INTERVAL 30 DAY
    AND NOT starts_with(boot, '{HISTORY}')
GROUP BY ALL
""".replace("{NAME}", NAME).replace("{HISTORY}", HISTORY)


class Found:
    """The numbers of publications that the recorder has, by start. `boot` is the present start, whose are on their way."""

    def __init__(self, boot: str = "", numbers: Mapping[str, Iterable[int]] | None = None, asked: bool = False) -> None:
        self.asked = asked
        self._boot = boot
        self._numbers = {name: frozenset(each) for name, each in (numbers or {}).items()}

    def missing(self, entry: Entry) -> list[int]:
        """Return the places, from 0, of the publications of an entry that the recorder does not have."""
        if entry.boot == self._boot:
            return []
        known = self._numbers.get(entry.boot, frozenset())
        return [place for place in range(entry.count) if entry.seq + place not in known]


def published_query(earlier: Mapping[str, int]) -> QueryRequest:
    """Return the query for the publications of earlier starts, each from a number on."""
    parameters: list[Any] = [value for boot, seq in earlier.items() for value in (boot, seq)]
    starts = " OR ".join(["(boot = ? AND seq >= ?)"] * len(earlier)) or "false"
    return QueryRequest(sql=PUBLISHED_SQL.format(name=NAME, starts=starts), parameters=parameters)


def published_of(boot: str, rows: Iterable[Mapping[str, Any]]) -> Found:
    """Return the answer to `published_query`."""
    return Found(boot, {str(row["boot"]): [int(seq) for seq in row["seqs"]] for row in rows}, asked=True)


def newest_of(rows: Iterable[Mapping[str, Any]], declared: Iterable[Declared]) -> dict[str, datetime]:
    """Return the newest device time of each declaration that has one, from the answer to `NEWEST_SQL`."""
    newest = {(row["topic"], row["sensor"]): datetime.fromisoformat(row["newest"]) for row in rows}
    found = {}
    for each in declared:
        at = newest.get((each.topic, each.name if each.kind == "sensor" else None))
        if each.time is not None and at is not None:
            found[each.id] = at
    return found
