"""The question `why` of a page, with a recorder that knows three messages."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from adapters.web.why import WhyOf, why
from broker.contract.sql import Statement

AT = datetime(2026, 12, 1, 8, tzinfo=UTC)
SETPOINT = {"number": 1, "topic": "heating/a/setpoint", "source": "anna", "boot": "b", "seq": 1, "cause": None}
STATE = {"number": 2, "topic": "heating/a/state", "source": "heating", "boot": "b", "seq": 1, "cause": ["anna/b/1", "tick"]}
KNOWN: tuple[dict[str, Any], ...] = (SETPOINT, STATE)
ROWS = {int(each["number"]): {**each, "received_at": AT, "payload": "{}"} for each in KNOWN}


async def recorder(statement: Statement) -> list[dict[str, Any]]:
    given = statement.parameters
    if "at" in given:
        return [{"number": 2 if given["topic"] == "heating/a/state" else None}]
    if "references" in given:
        return [row for row in ROWS.values() if set(row["cause"] or ()) & set(given["references"])]
    if "sources" in given:
        return [ROWS[1]]
    if "number" in given:
        return [ROWS[given["number"]]] if given["number"] in ROWS else []
    return [{"component": "heating"}]


def answer(of: WhyOf) -> list[tuple[int, str, int | None]]:
    rows = asyncio.run(why(of, recorder))["rows"]
    return [(row["level"], row["kind"], row["number"]) for row in rows]


def test_the_newest_message_of_a_topic_with_its_causes() -> None:
    assert answer(WhyOf(topic="heating/a/state")) == [(0, "component", 2), (1, "person", 1), (1, "tick", None)]


def test_what_a_message_led_to() -> None:
    assert answer(WhyOf(number=1, effects=True)) == [(0, "person", 1), (1, "component", 2)]


def test_an_unknown_message_has_no_rows() -> None:
    assert answer(WhyOf(number=9)) == []
    assert answer(WhyOf(topic="no/such/topic")) == []
