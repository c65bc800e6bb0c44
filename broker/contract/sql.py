"""A topic filter as a condition of SQL, with the meaning that it has for a broker (MQTT 5, section 4.7)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

_WILDCARDS = ("+", "#")


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean SQL expression and the values of its `$name` parameters."""

    sql: str
    parameters: dict[str, Any]

    def __and__(self, other: "Condition") -> "Condition":
        return Condition(f"{self.sql} AND {other.sql}", {**self.parameters, **other.parameters})


def topic_condition(topic_filter: str, column: str = "topic") -> Condition:
    """Return the condition under which `column` matches a valid `topic_filter`."""
    levels = topic_filter.split("/")
    plain = list(takewhile(lambda level: level not in _WILDCARDS, levels))
    prefix = "/".join(plain)
    if plain == levels:
        return Condition(f"{column} = $topic", {"topic": topic_filter})
    if levels == ["#"]:
        return Condition(f"NOT starts_with({column}, '$')", {})
    if plain and levels == [*plain, "#"]:
        return Condition(f"({column} = $topic OR starts_with({column}, $topic || '/'))", {"topic": prefix})
    matching = Condition(f"regexp_full_match({column}, $topic_pattern)", {"topic_pattern": _pattern(levels)})
    if not plain:
        return Condition(f"NOT starts_with({column}, '$')", {}) & matching
    return Condition(f"starts_with({column}, $topic_prefix)", {"topic_prefix": prefix}) & matching


def selection(topic_filter: str, since_at: datetime | None) -> Condition:
    """Return the condition for messages on these topics, received since then."""
    condition = topic_condition(topic_filter)
    if since_at is None:
        return condition
    return condition & Condition("received_at >= $since::TIMESTAMPTZ", {"since": since_at.astimezone(UTC).isoformat()})


def _pattern(levels: list[str]) -> str:
    """Return a pattern of RE2, whose `.` and negated classes match a line end with (?s)."""
    body = "/".join("[^/]*" if level == "+" else re.escape(level) for level in levels if level != "#")
    if levels[-1] == "#":
        body = f"{body}(?:/.*)?"
    return f"(?s){body}"
