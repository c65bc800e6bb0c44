"""`scaup replay`: Publish recorded messages again, with their original spacing."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from adapters.cli.notices import hint, warn
from adapters.cli.options import examples, output_options, since_option, topic_filter_argument, until_option
from adapters.cli.output.destination import Output
from adapters.cli.output.progress import ProgressBar, duration
from adapters.client.errors import ClientError, Refused, WrongUsage
from adapters.client.rows import Rows
from adapters.client.session import Session
from broker.contract.replay import PREFIX
from broker.errors import InvalidTopic
from broker.runtime.clock import new_boot

if TYPE_CHECKING:
    from adapters.client.pages import Selection
    from adapters.client.replay import Run, Span

_AS_FAST_AS_POSSIBLE = 0.0
_LATE_S = 1.0
_ALLOWED = "this account may publish below replay/, and to original topics only what a device may; `make up` renews the rules"
_SPEED_HELP = "Multiple of the recorded speed; 0 or max: as fast as the broker accepts messages."
_PREFIX_HELP = "Prefix of each topic; '' publishes to the original topics."


class Speed(click.ParamType):  # type: ignore[type-arg]
    """A factor of time; 0 for no pauses."""

    name = "factor"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the factor, or fail with the accepted values."""
        if value == "max":
            return _AS_FAST_AS_POSSIBLE
        try:
            factor = float(value)
        except ValueError:
            factor = -1.0
        if not 0 <= factor < float("inf"):
            self.fail(f"{value!r} is not a speed: give a number such as 1, 10 or 0.5, or max", param, ctx)
        return factor


class Prefix(click.ParamType):  # type: ignore[type-arg]
    """The prefix of the topics to publish to."""

    name = "prefix"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return a prefix that can go before every topic, or fail with the rule that it breaks."""
        from adapters.client.replay import valid_prefix

        try:
            return valid_prefix(value)
        except InvalidTopic as error:
            self.fail(f"{error}. Examples: {PREFIX}, {PREFIX}monday/", param, ctx)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The messages to replay, and how."""

    selection: "Selection"
    found: "Span"
    speed: float
    prefix: str

    @property
    def duration_s(self) -> float | None:
        """The duration in wall seconds, None where it depends on the broker."""
        return None if self.speed == _AS_FAST_AS_POSSIBLE else self.found.duration_s / self.speed


@click.command(
    epilog=examples(
        "scaup replay '/readings/#' --since 1h --speed 10",
        "scaup replay --since 2026-01-31T08:00 --until 2026-01-31T09:00 --speed max --dry-run",
    )
)
@topic_filter_argument
@since_option("Only messages received at this time or later.")
@until_option("Only messages received before this time.")
@click.option("--all", "everything", is_flag=True, help="From the beginning of the recording, instead of --since.")
@click.option("--speed", type=Speed(), default="1", show_default=True, metavar="FACTOR", help=_SPEED_HELP)
@click.option("--to-prefix", "prefix", type=Prefix(), default=PREFIX, show_default=True, help=_PREFIX_HELP)
@click.option("--dry-run", is_flag=True, help="Publish nothing: show the messages to be published, topic by topic.")
@output_options
@click.pass_obj
def replay(
    session: Session,
    topic_filter: str,
    since_at: datetime | None,
    until_at: datetime | None,
    everything: bool,
    speed: float,
    prefix: str,
    dry_run: bool,
    output: Output,
) -> None:
    """Publish recorded messages again, with their original spacing.

    FILTER is an MQTT filter with + and #; without it, every topic. Messages keep their payload, their QoS and the order of
    their arrival. They are never retained, and each is marked: its user property `replayed` is the time when the original was
    received, `replayed-source`, `replayed-boot` and `replayed-seq` are the original's stamp, and its own `source` is `replay`.
    Only messages recorded before the start of this command are replayed.

    The prefix is put before the whole topic: /readings/room-1/temperature becomes replay//readings/room-1/temperature, and
    removing the prefix gives the original topic. To the original topics, the operator may publish only what a device may.

    Never replayed: replayed messages themselves, the storage/ topics of the recorder, and $SYS. If the
    broker refuses a message of QoS 0, it is lost without an error, since QoS 0 has no acknowledgement.
    """
    from adapters.client.pages import MESSAGES, select
    from adapters.client.replay import COLUMNS, replayable, span

    _check_period(since_at, until_at, everything=everything)
    condition = replayable(topic_filter, prefix, since_at, until_at)
    selection = select(session, MESSAGES, condition, COLUMNS)
    _check_numbered(selection)
    plan = _Plan(selection, span(session, selection), speed, prefix)
    if dry_run:
        _show_plan(session, plan, output)
    else:
        _replay(session, plan, output)


def _check_period(since_at: datetime | None, until_at: datetime | None, *, everything: bool) -> None:
    if since_at is None and not everything:
        raise WrongUsage(
            "the beginning of the period is missing",
            "for example scaup replay '/readings/#' --since 1h --speed 10; --all replays the whole recording",
        )
    if since_at is not None and everything:
        raise WrongUsage("--all and --since contradict each other", "leave one of them out")
    if since_at is not None and until_at is not None and until_at <= since_at:
        raise WrongUsage("--until is not after --since", "a time ago counts back from now: --since 2h --until 1h")


def _check_numbered(selection: "Selection") -> None:
    if "number" not in selection.schema.names:
        raise WrongUsage("the database is of an earlier release", "start the recorder once: it brings the database up to date")


def _show_plan(session: Session, plan: _Plan, output: Output) -> None:
    from adapters.client.replay import topics

    found = topics(session, plan.selection, plan.found)
    rows = [(each["topic"], plan.prefix + each["topic"], *list(each.values())[1:]) for each in found]
    output.write(Rows(("topic", "to", "messages", "first_at", "last_at"), rows))
    takes = "as fast as the broker accepts them" if plan.duration_s is None else f"in {duration(plan.duration_s)}"
    hint(f"would publish {plan.found.extent.rows:,} messages of {duration(plan.found.duration_s)} {takes}")


def _replay(session: Session, plan: _Plan, output: Output) -> None:
    from adapters.client.replay import Replay, Run, recorded

    if not plan.prefix:
        warn("publishing to the original topics: subscribers that ignore `replayed` take these messages for new ones")
    total = plan.found.extent.rows
    with session.bus() as bus, ProgressBar(total, "messages", visible=not output.on_terminal) as bar:
        run = Run(bus, Replay(new_boot(), plan.prefix, plan.speed or None), bar.advance, plan.duration_s)
        try:
            run.publish(recorded(session, plan.selection, plan.found))
        except (ClientError, KeyboardInterrupt) as stopped:
            with suppress(ClientError):
                if isinstance(stopped, KeyboardInterrupt):
                    bus.settle()
            bar.clear()
            hint(_how_far(run, total))
            if isinstance(stopped, Refused):
                raise Refused(stopped.message, _ALLOWED) from stopped
            raise
    _report(plan, run, output)


def _how_far(run: "Run", total: int) -> str:
    if run.last_at is None:
        return f"stopped before the first of {total:,} messages"
    return f"stopped after {run.published:,} of {total:,} messages, the last one of {run.last_at.isoformat()}"


def _report(plan: _Plan, run: "Run", output: Output) -> None:
    found = plan.found
    columns = ("published", "skipped", "first_at", "last_at", "elapsed_s")
    output.write(Rows(columns, [(run.published, run.skipped, found.first_at, found.last_at, round(run.elapsed_s, 3))]))
    if not found.extent.rows:
        hint("no message was recorded on these topics in this period: `scaup topics` lists the recorded topics")
    if run.skipped:
        warn(f"{run.skipped:,} messages were skipped: their topics with the prefix are invalid")
    if run.behind_s > _LATE_S:
        warn(f"up to {run.behind_s:.1f} s behind the schedule: --speed {plan.speed:g} is too fast")
