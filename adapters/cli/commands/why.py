"""`scaup why`: Show what a message follows from, or what it led to."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from adapters.cli.options import Instant, examples, output_options
from adapters.cli.output.destination import Output
from adapters.cli.output.formats import Format
from adapters.client.errors import Failed
from adapters.client.rows import Rows
from adapters.client.session import Session, rows_of
from adapters.client.texts import as_json
from broker.contract.storage.causes import DEEPEST, EXPIRED, Node, Walk, causes_of, effects_of, newest
from broker.stamp import TICK, rfc3339

T = TypeVar("T")

_COLUMNS = ("level", "number", "at", "delay_s", "topic", "payload", "source", "kind")
_LONGEST_SHOWN = 80


@click.command(
    epilog=examples("scaup why /actuators/room-1", "scaup why 4711 -o json", "scaup why heating/room-1/setpoint --effects")
)
@click.argument("message", metavar="TOPIC|NUMBER")
@click.option("--at", "at", type=Instant(), help="The last message on TOPIC at this time, not the newest one.")
@click.option("--depth", type=click.IntRange(0, 100), default=DEEPEST, show_default=True, help="Levels below the message.")
@click.option("--effects", is_flag=True, help="What the message led to, not what it follows from.")
@output_options
@click.pass_obj
def why(session: Session, message: str, at: datetime | None, depth: int, effects: bool, output: Output) -> None:
    """Show what a message follows from, or what it led to.

    The message is the newest one on TOPIC, or the one with this NUMBER. Its causes are followed down to devices, people and
    ticks, which are what happens because time has passed. With -o json, the tree is one nested object.
    """
    number = int(message) if message.isascii() and message.isdigit() else _newest(session, message, at)
    root = _walked(session, effects_of(number, depth) if effects else causes_of(number, depth))
    if root is None:
        raise Failed(f"there is no message {number}", "it was never recorded, or its days are over: see `scaup archive`")
    if output.format in (Format.JSON, Format.JSONL):
        with output.opened() as file:
            file.write(as_json(root.as_json("effects" if effects else "causes")) + b"\n")
    elif output.format.for_people and output.format is not Format.MARKDOWN:
        with output.opened() as file:
            file.write("".join(f"{line}\n" for line in _lines(root, effects)).encode())
    else:
        output.write(Rows(list(_COLUMNS), [list(each) for each in _flat(root, None, 0)]))


def _newest(session: Session, topic: str, at: datetime | None) -> int:
    number = _walked(session, newest(topic, at or datetime.max.replace(tzinfo=UTC, year=2300)))
    if number is None:
        raise Failed(f"no message on {topic} is recorded" + (" by then" if at else ""), "see `scaup topics`")
    return number


def _walked(session: Session, walk: Walk[T]) -> T:
    """Answer a walk's statements until it ends."""
    try:
        statement = next(walk)
        while True:
            statement = walk.send(rows_of(session, statement.sql, statement.parameters))
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]


def _flat(node: Node, above: Node | None, level: int) -> Iterator[tuple[Any, ...]]:
    delay_s = None if above is None else _delay_s(node, above)
    yield (
        level,
        node.number,
        rfc3339(node.at),
        delay_s,
        node.topic or node.reference or None,
        node.payload,
        node.source,
        node.kind,
    )
    for each in node.children:
        yield from _flat(each, node, level + 1)


def _lines(root: Node, effects: bool) -> Iterator[str]:
    yield f"{root.topic} {_short(root.payload)}  {rfc3339(root.at)}  #{root.number}  {_who(root)}"
    yield from _below(root, "", effects)
    if root.kind in ("device", "person") and not root.children and not effects:
        yield "(nothing on the bus led to it)"


def _below(node: Node, indent: str, effects: bool) -> Iterator[str]:
    for place, each in enumerate(node.children):
        is_last = place == len(node.children) - 1 and not node.cut
        yield f"{indent}{'└─ ' if is_last else '├─ '}{_line(each, node, effects)}"
        yield from _below(each, indent + ("   " if is_last else "│  "), effects)
    if node.cut:
        yield f"{indent}└─ …"


def _line(node: Node, above: Node, effects: bool) -> str:
    if node.kind == TICK:
        return "tick: time has passed"
    if node.kind == EXPIRED:
        return f"{node.reference}: no longer recorded"
    delay = f"{_duration(abs(_delay_s(node, above)))} {'after' if effects else 'before'}"
    return f"{node.topic} {_short(node.payload)}  {delay}  #{node.number}  {_who(node)}"


def _who(node: Node) -> str:
    return f"{node.source} ({node.kind})" if node.source else node.kind


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else str(timedelta(seconds=round(seconds)))


def _delay_s(node: Node, above: Node) -> float:
    return round((node.at - above.at).total_seconds(), 6)


def _short(payload: str | None) -> str:
    text = " ".join((payload or "").split())
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
