"""`scaup chargers`: Chargers: their state of charge and widgets now, their sessions and pairs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from adapters.cli.notices import hint
from adapters.cli.options import examples, output_options, recorded_topics, since_option
from adapters.cli.output.destination import Columns, Output
from adapters.client.errors import BrokenReply, Failed, NotOnline
from adapters.client.rows import Rows
from adapters.client.session import Session, rows_of
from broker.contract.charging import questions as charging_sql
from broker.contract.charging.topics import (
    ANSWER,
    REMOTE,
    REQUEST,
    STATE,
    PairAction,
    PairAnswer,
    PairRequest,
    RemoteAction,
    RemoteAnswer,
    RemoteRequest,
    ResetType,
)
from broker.contract.storage.topics import JSON
from broker.errors import InvalidTopic, Rejected
from broker.message import decode

if TYPE_CHECKING:
    from adapters.cli.systems.charging.live import LiveChargers

_LIVE_FOR_PEOPLE: Columns = {
    "charger": itemgetter("charger"),
    "state": itemgetter("state"),
    "soc %": itemgetter("soc"),
    "status": itemgetter("status"),
    "widget": itemgetter("widget"),
    "link": lambda row: str(row["widget_state"]).removesuffix(" seen"),
    "since, UTC": lambda row: _short(row["started_at"]),
    "soc at": lambda row: _short(row["soc_at"]),
}
_SESSIONS_FOR_PEOPLE: Columns = {
    "charger": itemgetter("charger"),
    "widget": itemgetter("widget"),
    "started, UTC": lambda row: _short(row["started_at"]),
    "ended": lambda row: _short(row["ended_at"]),
    "from %": itemgetter("soc_start"),
    "to %": itemgetter("soc_end"),
    "kWh": lambda row: None if row["kwh"] is None else round(row["kwh"], 2),
    "minutes": lambda row: None if row["duration_s"] is None else round(row["duration_s"] / 60, 1),
    "ended by": itemgetter("ended_by"),
}
"""The columns of a table, short enough for a terminal."""


class ChargerId(click.ParamType):  # type: ignore[type-arg]
    """The id of a charger: one level of a topic; completes chargers with recorded messages."""

    name = "charger"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return an id that can be a topic level, or fail."""
        try:
            STATE.template.topic(id=value)
        except InvalidTopic:
            self.fail(f"{value!r} cannot be a charger: it is one level of a topic, such as c1234", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        """Return the chargers whose ids begin as typed."""
        from click.shell_completion import CompletionItem

        session = ctx.find_object(Session) or Session()
        topics = recorded_topics(session, f"chargers/{incomplete}")
        return [CompletionItem(each) for each in dict.fromkeys(topic.split("/")[1] for topic in topics)]


_PATIENCE_S = 10.0
_CHARGERS_PATIENCE_S = 40.0
"""The adapter waits 30 s for a charger."""
_AGREED = ("Accepted", "Scheduled")

_charger_option = click.option("--charger", type=ChargerId(), metavar="ID", help="Only this charger.")


@click.group(
    invoke_without_command=True,
    epilog=examples("scaup chargers", "scaup chargers --online -o csv", "scaup chargers pair c1234 wABCD"),
)
@click.option("--online", is_flag=True, help="Only those that are connected now.")
@click.option("--all", "every", is_flag=True, help="Also those in the pairs that were never connected.")
@_charger_option
@output_options
@click.pass_context
def chargers(ctx: click.Context, online: bool, every: bool, charger: str | None, output: Output) -> None:
    """Chargers: their state of charge and widgets now, their sessions and pairs.

    Without a command, it lists the chargers that were ever connected: whether each is online, its state of charge, the status
    sent to its widget, whether the widget is online, and since when it charges (plant time). Exits with 1 if there is none.
    """
    if ctx.invoked_subcommand is None:
        _list(ctx.find_object(Session) or Session(), charger, output, online=online, every=every)
    elif any(ctx.params.values()):
        raise click.UsageError(f"options before {ctx.invoked_subcommand!r} belong to the list of chargers: put them after it")


@chargers.command(epilog=examples("scaup chargers sessions", "scaup chargers sessions --since 7d --charger c1234 -o csv"))
@since_option("Wall time since when a session began or ended.", default="1d")
@_charger_option
@output_options
@click.pass_obj
def sessions(session: Session, since_at: datetime, charger: str | None, output: Output) -> None:
    """List recorded charging sessions, newest last.

    A running session has no end yet. Times are plant time. Exits with 1 if there is none.
    """
    statement = charging_sql.sessions(charger, since_at)
    rows = rows_of(session, statement.sql, statement.parameters)
    if not rows:
        of_charger = f" of charger {charger}" if charger else ""
        raise Failed(
            f"no session{of_charger} was recorded since {since_at:%Y-%m-%d %H:%M:%S}Z",
            "go further back with --since, or see scaup chargers and scaup status charging",
        )
    output.write_dicts(rows, _SESSIONS_FOR_PEOPLE)


@chargers.command(epilog=examples("scaup chargers pair c1234 wABCD"))
@click.argument("charger", type=ChargerId())
@click.argument("widget")
@output_options
@click.pass_obj
def pair(session: Session, charger: str, widget: str, output: Output) -> None:
    """Pair a charger with a widget, at once and for good.

    The pairs are kept in the file of SCAUP_CHARGER_PAIRS, or in charger-pairs.json in the data directory. Exits with 1 where
    either belongs to another pair.
    """
    _change_pairs(session, PairRequest(PairAction.PAIR, charger, widget), output)


@chargers.command(epilog=examples("scaup chargers unpair c1234"))
@click.argument("charger", type=ChargerId())
@output_options
@click.pass_obj
def unpair(session: Session, charger: str, output: Output) -> None:
    """Remove the pair of a charger: its session ends, and its widget shows nothing any more.

    Exits with 1 where the charger is in no pair.
    """
    _change_pairs(session, PairRequest(PairAction.UNPAIR, charger), output)


@chargers.command(epilog=examples("scaup chargers start garage --tag 04AABBCC --connector 1"))
@click.argument("charger", type=ChargerId())
@click.option("--tag", required=True, metavar="TAG", help="The id tag that charges.")
@click.option("--connector", type=click.IntRange(1), help="Default: the charger chooses.")
@output_options
@click.pass_obj
def start(session: Session, charger: str, tag: str, connector: int | None, output: Output) -> None:
    """Ask an OCPP charger to start a transaction.

    Shows the charger's own word. Exits with 1 where that is not `Accepted`, or it gives none.
    """
    _ask(session, charger, RemoteRequest(RemoteAction.START, tag, connector), output)


@chargers.command(epilog=examples("scaup chargers stop garage"))
@click.argument("charger", type=ChargerId())
@click.option("--connector", type=click.IntRange(1), help="Default: the transaction that began last.")
@output_options
@click.pass_obj
def stop(session: Session, charger: str, connector: int | None, output: Output) -> None:
    """Ask an OCPP charger to stop its running transaction.

    Shows the charger's own word. Exits with 1 where that is not `Accepted`, or it gives none.
    """
    _ask(session, charger, RemoteRequest(RemoteAction.STOP, connector=connector), output)


@chargers.command(epilog=examples("scaup chargers reset garage", "scaup chargers reset garage --hard"))
@click.argument("charger", type=ChargerId())
@click.option("--hard", is_flag=True, help="At once; by default it ends its transactions first.")
@output_options
@click.pass_obj
def reset(session: Session, charger: str, hard: bool, output: Output) -> None:
    """Ask an OCPP charger to start again.

    Shows the charger's own word. Exits with 1 where that is a refusal, or it gives none.
    """
    _ask(session, charger, RemoteRequest(RemoteAction.RESET, type=ResetType.HARD if hard else ResetType.SOFT), output)


def _ask(session: Session, charger: str, request: RemoteRequest, output: Output) -> None:
    from adapters.client.requests import SAME_RELEASE, Requests, Responder

    adapter = Responder("charger adapter", "charger-adapter", "see `scaup status charger-adapter`")
    with session.bus() as bus:
        requests = Requests(bus, adapter, ANSWER.template.topic(client=bus.answer_name))
        requests.subscribe()
        if not adapter.is_online(bus):
            fix = "start it with `make up`, see `scaup status charger-adapter`"
            raise NotOnline("the charger adapter is not online", fix)
        publication = replace(REMOTE.publication(request, id=charger), content_type=JSON)
        reply = requests.reply(publication, _CHARGERS_PATIENCE_S, round(_CHARGERS_PATIENCE_S))
    try:
        answer = decode(reply.payload, RemoteAnswer)
    except Rejected as error:
        raise BrokenReply(f"the charger adapter sent an invalid answer: {error}", SAME_RELEASE) from error
    if answer.error is not None:
        raise Failed(answer.error, _LOOK)
    output.write(Rows(("charger", "action", "status"), [(charger, request.action.value, answer.status)]))
    if answer.status not in _AGREED:
        raise Failed(f"charger {charger} does not do that now: {answer.status}", _LOOK)


def _change_pairs(session: Session, request: PairRequest, output: Output) -> None:
    from adapters.client.requests import SAME_RELEASE, Requests, Responder

    controller = Responder("charging controller", "charging", "see `scaup status charging`")
    with session.bus() as bus:
        requests = Requests(bus, controller, ANSWER.template.topic(client=bus.answer_name))
        requests.subscribe()
        if not controller.is_online(bus):
            raise NotOnline("the charging controller is not online", "start it with `make up`, see `scaup status charging`")
        publication = replace(REQUEST.publication(request), content_type=JSON)
        reply = requests.reply(publication, _PATIENCE_S, round(_PATIENCE_S))
    try:
        answer = decode(reply.payload, PairAnswer)
    except Rejected as error:
        raise BrokenReply(f"the charging controller sent an invalid answer: {error}", SAME_RELEASE) from error
    if answer.error is not None:
        raise Failed(answer.error, "scaup chargers --all lists the pairs")
    output.write(Rows(("charger", "widget", "status"), [(answer.charger, answer.widget, answer.status)]))


def _list(session: Session, charger: str | None, output: Output, *, online: bool, every: bool) -> None:
    from adapters.cli.systems.charging.live import CONTROLLER, LiveChargers, filters

    with session.bus() as bus:
        live = LiveChargers.of(bus.retained(*filters(charger)))
    if not live.pairs and not live.seen:
        raise Failed("no charger is known: charging has not published anything yet", "see scaup status charging")
    rows = [live.row(each) for each in _chosen(live, charger, every)]
    rows = [each for each in rows if not online or each["state"] == "online"]
    if not rows:
        raise _none(live, charger, online=online)
    output.write_dicts(rows, _LIVE_FOR_PEOPLE)
    if not live.is_online(CONTROLLER):
        hint("charging is not online: states of charge and status are the last it published (scaup status charging)")
    if (missing := len(live.never_seen)) and not (every or online or charger):
        hint(f"{missing} more in the pairs were never connected: --all lists them too")


def _chosen(live: "LiveChargers", charger: str | None, every: bool) -> list[str]:
    from adapters.cli.systems.charging.live import natural

    if charger is not None:
        return [charger] if charger in live.known else []
    return sorted(live.known, key=natural) if every else live.seen


def _none(live: "LiveChargers", charger: str | None, *, online: bool) -> Failed:
    if charger is not None and charger not in live.known:
        fix = f"scaup chargers --all lists all chargers; scaup chargers pair {charger} WIDGET adds it"
        return Failed(f"there is no charger {charger}: it is not in the pairs", fix)
    if online:
        return Failed("no charger is online" if charger is None else f"charger {charger} is not online", _LOOK)
    return Failed(f"none of the {len(live.pairs)} chargers in the pairs was ever connected", f"{_LOOK}; --all lists them")


_LOOK = "see scaup status charger-adapter, and scaup tail 'chargers/#' -f"


def _short(instant: str | datetime | None) -> str | None:
    """Write an instant for a narrow table, to the minute and without its year; text that is none is returned unchanged."""
    if isinstance(instant, datetime):
        return f"{instant.astimezone(UTC):%m-%d %H:%M}"
    try:
        found = datetime.fromisoformat(instant or "")
    except ValueError:
        return instant
    return f"{found:%m-%d %H:%M}" if found.utcoffset() == timedelta() else instant
