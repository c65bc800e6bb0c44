"""SQL with its parameters, and topic filters as conditions that select what a broker would (MQTT 5, section 4.7)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from broker.mqtt.topics import TopicTemplate, filter_pattern

_WILDCARDS = ("+", "#")


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Statement:
    """A SQL statement and the values of its `$name` parameters."""

    sql: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean SQL expression and the values of its `$name` parameters."""

    sql: str
    parameters: dict[str, Any]

    def __and__(self, other: "Condition") -> "Condition":
        return Condition(f"{self.sql} AND {other.sql}", {**self.parameters, **other.parameters})


EVERYTHING = Condition("true", {})


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
    pattern = f"(?s){filter_pattern(topic_filter)}"  # without the flag, `.` of RE2 matches no line end
    matching = Condition(f"regexp_full_match({column}, $topic_pattern)", {"topic_pattern": pattern})
    if not plain:
        return Condition(f"NOT starts_with({column}, '$')", {}) & matching
    return Condition(f"starts_with({column}, $topic_prefix)", {"topic_prefix": prefix}) & matching


def family_condition(template: TopicTemplate) -> str:
    """Return the condition under which `topic` is of this family, as `TopicTemplate.parse` decides it."""
    prefix = template.text.partition("{")[0]
    return f"starts_with(topic, {literal(prefix)}) AND regexp_full_match(topic, {literal(template.pattern)})"


def selection(topic_filter: str, since_at: datetime | None) -> Condition:
    """Return the condition for messages on the topics of a filter, received since an instant."""
    condition = topic_condition(topic_filter)
    return condition if since_at is None else condition & received(since_at, None)


def received(since_at: datetime | None, until_at: datetime | None) -> Condition:
    """Return the condition for messages received at `since_at` or later, and before `until_at`."""
    condition = EVERYTHING
    for name, operator, instant in (("since", ">=", since_at), ("until", "<", until_at)):
        if instant is not None:
            bound = Condition(f"received_at {operator} ${name}::TIMESTAMPTZ", {name: instant.astimezone(UTC).isoformat()})
            condition = bound if condition is EVERYTHING else condition & bound
    return condition
