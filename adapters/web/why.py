"""The question `why`: what a message follows from, or what it led to, as rows in the order of the tree."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec

from broker.contract.sql import Statement
from broker.contract.storage.causes import Node, Walk, causes_of, effects_of, newest

T = TypeVar("T")
Query = Callable[[Statement], Awaitable[list[dict[str, Any]]]]

DEPTH, EFFECTS_DEPTH = 8, 2
MOST_ROWS = 1_000
_LATEST_AT = datetime(2300, 1, 1, tzinfo=UTC)


class WhyOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message by its number, or the last one of a topic at an instant, s since 1970; without an instant, the newest."""

    number: Annotated[int, msgspec.Meta(ge=0)] | None = None
    topic: str = ""
    at: float | None = None
    effects: bool = False
    """What it led to, not what it follows from."""


async def why(of: WhyOf, query: Query) -> dict[str, Any]:
    """Answer with the rows of a tree, each with its level; none where there is no such message."""
    number = of.number
    if number is None:
        at = _LATEST_AT if of.at is None else datetime.fromtimestamp(min(max(of.at, 0.0), 4e10), UTC)
        number = await _walked(newest(of.topic, at), query)
    root = None
    if number is not None:
        root = await _walked(effects_of(number, EFFECTS_DEPTH) if of.effects else causes_of(number, DEPTH), query)
    rows = [] if root is None else [row for _, row in zip(range(MOST_ROWS), _rows(root, 0), strict=False)]
    return {"rows": rows}


async def _walked(walk: Walk[T], query: Query) -> T:
    try:
        statement = next(walk)
        while True:
            statement = walk.send(await query(statement))
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]


def _rows(node: Node, level: int) -> Iterator[dict[str, Any]]:
    yield {
        "level": level,
        "kind": node.kind,
        "number": node.number,
        "at": node.at.timestamp(),
        "topic": node.topic,
        "payload": node.payload,
        "source": node.source,
        "cause": node.reference,
        "cut": node.cut,
    }
    for each in node.children:
        yield from _rows(each, level + 1)
