"""`scaup devices`: Check, try, apply and draft declarations of devices; list the active ones."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapters.cli.notices import hint, warn
from adapters.cli.options import examples, output_options, since_option
from adapters.cli.output.destination import Output
from adapters.cli.output.formats import Format
from adapters.client.errors import ClientError, Failed, Unreachable
from adapters.client.rows import Rows
from adapters.client.session import Session

if TYPE_CHECKING:
    from adapters.devices.declared import Declared
    from adapters.devices.trial import Result, Trial

EXCERPT = 80
"""Characters of a payload that `check` shows."""
LAST = 20
"""Messages in which a path must be found at least once."""
_DRAWN = 3
_COLUMNS = ("event_at", "device", "from", "to", "value")
_files = click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
_since = since_option("Recorded messages since then.", default="7d")


@click.group(
    epilog=examples(
        "scaup devices draft zigbee2mqtt/office > office.toml",
        "scaup devices check office.toml",
        "scaup devices try office.toml --since 7d",
        "scaup devices apply office.toml --since 7d",
        "scaup devices list",
    )
)
def devices() -> None:
    """Check, try, apply and draft declarations of devices; list the active ones.

    A declaration is a TOML file in the folder of SCAUP_DEVICES. It is active within two seconds of saving.
    """


@devices.command(epilog=examples("scaup devices check office.toml"))
@_files
@click.pass_obj
def check(session: Session, files: tuple[Path, ...]) -> None:
    """Check declarations, also against the active ones and the last recorded messages.

    Each thing that is wrong is a line `FILE:LINE: KIND.NAME.KEY: reason`, and the exit code is 1.
    """
    declared, errors = _read_all(session, files)
    try:
        problems = _problems(session, declared)
    except ClientError as error:
        problems = []
        if not isinstance(error, Unreachable):
            raise
        hint(f"not tried on recorded messages: {error.message}")
    for each in (*errors, *problems):
        click.echo(str(each))
    if errors or problems:
        raise SystemExit(1)
    hint(f"{len(declared)} declarations can be used")


@devices.command("try", epilog=examples("scaup devices try office.toml --since 7d", "scaup devices try *.toml -o jsonl"))
@_files
@_since
@output_options
@click.pass_obj
def try_(session: Session, files: tuple[Path, ...], since_at: datetime, output: Output) -> None:
    """Show the readings that recorded messages would have become. Nothing is published.

    On a terminal, the values of the first declarations are drawn below the table.
    """
    trial, results = _tried(session, files, since_at)
    output.write(Rows(_COLUMNS, [_row(each) for each in results]))
    if output.on_terminal and output.format is Format.TABLE:
        for line in _drawn(results):
            click.echo(line)
    _report(trial)


@devices.command(epilog=examples("scaup devices apply office.toml --since 7d"))
@_files
@_since
@output_options
@click.pass_obj
def apply(session: Session, files: tuple[Path, ...], since_at: datetime, output: Output) -> None:
    """Publish the readings of recorded messages, each once, at the time that they had.

    What was mapped before, live or by this command, is left out. Controllers do not act on them, and nothing is retained.
    """
    from adapters.devices.trial import not_mapped
    from broker.message import Publication
    from broker.runtime.clock import new_boot
    from broker.stamp import HISTORY, Stamp

    trial, results = _tried(session, files, since_at)
    topics = {each.publication.topic for each in results if each.publication is not None}
    left = not_mapped(results, _own(session, topics, results)) if results else []
    counted: dict[str, int] = {each.declared.id: 0 for each in results}
    boot = HISTORY + new_boot()
    with session.bus() as bus:
        for seq, each in enumerate(left, 1):
            assert each.publication is not None
            stamp = Stamp("devices", boot, seq, each.event_at).user_properties()
            found = Publication(topic=each.publication.topic, payload=each.publication.payload, properties=stamp)
            bus.post(found, 1)
            counted[each.declared.id] += 1
        bus.settle()
    rows = [(name, count, _mapped(results, name) - count) for name, count in counted.items()]
    output.write(Rows(("device", "applied", "left_out"), rows))
    _report(trial)


@devices.command("list", epilog=examples("scaup devices list -o json"))
@output_options
@click.pass_obj
def list_(session: Session, output: Output) -> None:
    """List the declarations with their states: active or not, link, counts, and what is wrong."""
    from broker.contract.devices.topics import STATE
    from broker.errors import Rejected

    with session.bus() as bus:
        retained = bus.retained(STATE.template.filter)
    rows = []
    for topic, message in sorted(retained.items()):
        try:
            state = STATE.decode(message)
        except Rejected:
            continue
        name = (STATE.parse(topic) or {}).get("device", topic)
        counts = (state.mapped, state.ignored, state.rejected)
        rows.append((name, state.file, state.active, state.link, *counts, state.error, state.error_at))
    if not rows:
        hint("nothing is declared: put a file into the folder of SCAUP_DEVICES, see `scaup config`")
    columns = ("device", "file", "active", "link", "mapped", "ignored", "rejected", "error", "error_at")
    output.write(Rows(columns, rows))


@devices.command(epilog=examples("scaup devices draft zigbee2mqtt/office > office.toml"))
@click.argument("topic")
@click.pass_obj
def draft(session: Session, topic: str) -> None:
    """Propose a declaration from what was recorded on TOPIC, and from Home Assistant discovery messages about it."""
    from adapters.devices.drafts import draft as proposed

    payloads = [each.payload for each in _last(session, topic, 200)]
    if not payloads:
        raise Failed(f"nothing was recorded on {topic}", "`scaup topics` lists the recorded topics")
    discovery = [each.payload for each in _last(session, "homeassistant/#", 5_000) if each.topic.endswith("/config")]
    click.echo(proposed(topic, payloads[::-1], discovery), nl=False)


def _read_all(session: Session, files: Sequence[Path]) -> "tuple[list[Declared], list[Any]]":
    """Return what files declare, and what is wrong with them, also against the other files of the folder."""
    from adapters.devices.declarations import check_together, read_file
    from adapters.devices.declared import DeclarationError
    from adapters.devices.folder import folder_of

    found, errors = [], []
    for path in files:
        try:
            found.append(read_file(str(path), _text(path)))
        except DeclarationError as error:
            errors.append(error)
    folder = folder_of(session.settings)
    names = {path.name for path in files}
    active = []
    for path in sorted(folder.glob("*.toml")) if folder.is_dir() else []:
        if path.name not in names and not path.name.startswith((".", "#")):
            try:
                active.append(read_file(str(path), _text(path)))
            except (DeclarationError, Failed):
                continue
    try:
        check_together([*active, *found])
    except DeclarationError as error:
        errors.append(error)
    return [each for declared in found for each in declared], errors


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Failed(f"{path} is not UTF-8", "save it as UTF-8") from None
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}", "check its permissions") from error


def _declared(session: Session, files: Sequence[Path]) -> "list[Declared]":
    declared, errors = _read_all(session, files)
    if errors:
        raise Failed(str(errors[0]), "`scaup devices check` lists everything that is wrong")
    return declared


def _problems(session: Session, declared: "Iterable[Declared]") -> list[str]:
    """Return what is wrong with declarations by the last recorded messages."""
    from adapters.devices.sparkplug.host import NAMESPACE

    found = []
    for each in declared:
        if each.source is None or each.source.startswith(f"{NAMESPACE}/"):
            continue
        messages = _last(session, each.source, LAST)
        if not messages:
            hint(f"{each.id}: nothing was recorded on {each.source} yet")
        found += _problems_of(each, [message.payload for message in messages])
    return found


def _problems_of(declared: "Declared", payloads: Sequence[bytes]) -> list[str]:
    """Return what is wrong with a declaration by the last payloads, the newest first: what is malformed, and paths in none."""
    from datetime import UTC

    from adapters.devices.declared import DeclarationError
    from adapters.devices.lines import Lines
    from adapters.devices.mapping import Document, read
    from adapters.devices.values import ABSENT, Malformed, find

    if not payloads:
        return []
    lines, shown = Lines(_text(Path(declared.file))), payloads[0].decode(errors="replace")[:EXCERPT]

    def problem(keys: tuple[str, ...], reason: str) -> str:
        where = (declared.kind, declared.name, *keys)
        return str(DeclarationError(declared.file, lines.of(*where), where, f"{reason}: {shown}"))

    try:
        read(declared, Document.of(payloads[0]), datetime.now(UTC))
    except Malformed as error:
        return [problem((), f"{error}, in the last message")]
    documents = [Document.of(each).read(False) for each in payloads]
    found = []
    for name, rule in declared.values.items():
        keys = ("value", name) if name else ("value" if declared.falls is None else "register",)
        if rule.default is None and all(find(each, rule.path, rule.pick) is ABSENT for each in documents):
            path = ".".join(map(str, rule.path))
            found.append(problem(keys, f"{path!r} is in none of the last {len(payloads)} messages"))
    if declared.time is not None and all(find(each, declared.time) is ABSENT for each in documents):
        path = ".".join(map(str, declared.time))
        found.append(problem(("time",), f"{path!r} is in none of the last {len(payloads)} messages"))
    return found


def _tried(session: Session, files: Sequence[Path], since_at: datetime) -> "tuple[Trial, list[Result]]":
    from adapters.devices.trial import Trial

    declared = _declared(session, files)
    trial = Trial(declared)
    results: list[Result] = []
    for each in _recorded(session, declared, since_at):
        results += trial.take(each)
    return trial, results


def _recorded(session: Session, declared: "Iterable[Declared]", since_at: datetime) -> "Iterator[Any]":
    """Return the recorded messages of declarations, in their order."""
    from adapters.client.pages import MESSAGES, PageSize, extent, pages, select
    from adapters.client.rows import plain
    from adapters.devices.trial import Recorded
    from broker.contract.sql import Condition, topic_condition
    from broker.contract.storage.values import python_values

    conditions, parameters = [], {"since": since_at}
    for number, selects in enumerate(sorted({each.selects for each in declared if each.selects is not None})):
        condition = topic_condition(selects)
        renamed = {f"{name}_{number}": value for name, value in condition.parameters.items()}
        sql = condition.sql
        for name in sorted(condition.parameters, key=len, reverse=True):
            sql = sql.replace(f"${name}", f"${name}_{number}")
        conditions.append(f"({sql})")
        parameters |= renamed
    if not conditions:
        return
    wanted = Condition(f"received_at >= $since AND ({' OR '.join(conditions)})", parameters)
    columns = ("number", "received_at", "topic", "payload", "payload_raw")
    selection = select(session, MESSAGES, wanted, columns)
    found = extent(session, selection)
    for page in pages(session, selection, found, PageSize()):
        for batch in page:
            values = [python_values(plain(batch.column(name))) for name in columns]
            for number, received_at, topic, text, raw in zip(*values, strict=True):
                yield Recorded(number, received_at, topic, raw if text is None else text.encode())


def _own(session: Session, topics: Iterable[str], results: "Sequence[Result]") -> "list[Any]":
    """Return the recorded publications of the component on topics, from the first result on."""
    from adapters.client.pages import MESSAGES, PageSize, extent, pages, select
    from adapters.client.rows import plain
    from adapters.devices.trial import Own
    from broker.contract.sql import Condition
    from broker.contract.storage.values import python_values

    first = min(each.recorded.number for each in results)
    sql = "source = 'devices' AND number > $first AND list_contains($topics, topic)"
    selection = select(
        session,
        MESSAGES,
        Condition(sql, {"first": first, "topics": sorted(topics)}),
        ("number", "event_at", "topic", "payload", "payload_raw"),
    )
    found = []
    for page in pages(session, selection, extent(session, selection), PageSize()):
        for batch in page:
            columns = ("number", "event_at", "topic", "payload", "payload_raw")
            values = [python_values(plain(batch.column(name))) for name in columns]
            for number, event_at, topic, text, raw in zip(*values, strict=True):
                found.append(Own(number, event_at, topic, raw if text is None else text.encode()))
    return found


def _last(session: Session, topic_filter: str, count: int) -> "list[Any]":
    """Return the last recorded messages of a filter, the newest first."""
    from adapters.client.session import rows_of
    from adapters.devices.trial import Recorded
    from broker.contract.sql import topic_condition

    condition = topic_condition(topic_filter)
    sql = f"""SELECT number, received_at, topic, payload, payload_raw FROM messages
              WHERE {condition.sql} ORDER BY number DESC LIMIT {count}"""  # noqa: S608 - values are parameters
    rows = rows_of(session, sql, condition.parameters)
    return [
        Recorded(each["number"], each["received_at"], each["topic"], each["payload_raw"] or (each["payload"] or "").encode())
        for each in rows
    ]


def _row(result: "Result") -> tuple[Any, ...]:
    to = None if result.publication is None else result.publication.topic
    return (result.event_at, result.declared.id, result.recorded.topic, to, result.value)


def _mapped(results: "Iterable[Result]", name: str) -> int:
    return sum(each.declared.id == name for each in results)


def _drawn(results: "Sequence[Result]") -> Iterator[str]:
    """Yield plots of the first declarations with single numbers."""
    from adapters.cli.output.charts import text_chart

    width = max(20, shutil.get_terminal_size().columns - 12)
    names = list(dict.fromkeys(each.declared.id for each in results))
    drawn = 0
    for name in names:
        points = [
            (each.event_at, each.value) for each in results if each.declared.id == name and type(each.value) in (int, float)
        ]
        if len(points) < 2 or drawn == _DRAWN:
            continue
        drawn += 1
        first_at, last_at = min(points)[0], max(points)[0]
        span_s = max((last_at - first_at).total_seconds(), 1e-6)
        columns: list[list[float]] = [[] for _ in range(width)]
        for at, value in points:
            columns[min(width - 1, int((at - first_at).total_seconds() / span_s * width))].append(value)
        values = [sum(each) / len(each) if each else None for each in columns]
        yield ""
        yield f"{name}: • mean of each column, {first_at:%Y-%m-%d %H:%M} to {last_at:%Y-%m-%d %H:%M} UTC"
        yield from text_chart(values, [None] * width)


def _report(trial: "Trial") -> None:
    """Count on standard error what was no reading."""
    for name, counts in trial.counts.items():
        text = f"{name}: {counts.mapped} mapped, {counts.ignored} ignored, {counts.rejected} rejected"
        if counts.rejected:
            warn(f"{text}, the last because {counts.error}")
        else:
            hint(text)
