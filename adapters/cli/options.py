"""Options and arguments shared by several commands."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from adapters.cli.output.destination import Output
from adapters.cli.output.formats import Format
from adapters.cli.session import new_session
from adapters.client.session import Session
from adapters.client.times import ACCEPTED, parse_instant
from broker.errors import InvalidTopic
from broker.mqtt.topics import validate_filter, validate_topic

F = TypeVar("F", bound=Callable[..., Any])

_COMPLETION_TIMEOUT_S = 1.0
_MOST_COMPLETIONS = 200


class TopicFilter(click.ParamType):  # type: ignore[type-arg]
    """An MQTT filter; completes recorded topics."""

    name = "filter"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return a valid filter, or fail with the rule that it breaks."""
        try:
            return validate_filter(value)
        except InvalidTopic as error:
            self.fail(f"{error}. Examples: '#', '/readings/+/temperature', 'heating/room-1/#'", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Return recorded topics that begin as typed; none if the recorder does not answer at once."""
        return [CompletionItem(topic) for topic in recorded_topics(_session(ctx), incomplete)]


class Instant(click.ParamType):  # type: ignore[type-arg]
    """A point in time: relative, a word, or ISO 8601."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the instant in UTC, or fail with the accepted forms."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_instant(value, datetime.now(UTC))
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)


class ComponentName(click.ParamType):  # type: ignore[type-arg]
    """The name of a component; completes the declared ones."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Return the components whose names begin as typed."""
        from adapters.launcher.registry import components

        return [CompletionItem(name, help=each.summary) for name, each in components().items() if name.startswith(incomplete)]


class RoomName(click.ParamType):  # type: ignore[type-arg]
    """The name of a room: one level of a topic; completes rooms with recorded readings."""

    name = "room"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return a name that can be a topic level, or fail."""
        try:
            validate_topic(value)
        except InvalidTopic as error:
            self.fail(str(error), param, ctx)
        if "/" in value:
            self.fail(f"{value!r} contains a slash: a room is one level of a topic, such as room-1", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Return the rooms whose names begin as typed."""
        found = recorded_topics(_session(ctx), f"/readings/{incomplete}")
        return [CompletionItem(topic.split("/")[2]) for topic in found if topic.endswith("/temperature")]


def examples(*lines: str) -> str:
    """Return the end of a command's help: example lines."""
    return "\b\n" + "\n".join(["Example:" if len(lines) == 1 else "Examples:", *(f"  {each}" for each in lines)])


def recorded_topics(session: Session, prefix: str) -> list[str]:
    """Return recorded topics that begin with `prefix`, at most 200; none if the recorder does not answer quickly."""
    from adapters.client.errors import ClientError
    from adapters.client.recorder import Recorder
    from broker.contract.storage.topics import QueryRequest
    from broker.errors import BusError

    sql = "SELECT DISTINCT topic FROM messages WHERE starts_with(topic, $prefix) ORDER BY topic LIMIT $most"
    parameters = {"prefix": prefix, "most": _MOST_COMPLETIONS}
    request = QueryRequest(sql=sql, parameters=parameters, timeout_s=_COMPLETION_TIMEOUT_S)
    try:
        with session.recording_bus() as bus:
            return [str(row["topic"]) for row in Recorder(bus).rows(request, _COMPLETION_TIMEOUT_S)]
    except (ClientError, BusError, ValueError, KeyError, TypeError):
        return []


def _session(ctx: click.Context) -> Session:
    found = ctx.find_root().obj
    return found if isinstance(found, Session) else new_session()


def output_options(command: F) -> F:
    """Add `-o` and `--output-file`; the command gets them as `output`."""

    @click.option(
        "-o",
        "--output",
        "output_format",
        type=click.Choice([each.value for each in Format]),
        help=_OUTPUT_HELP,
        metavar="FORMAT",
    )
    @click.option(
        "--output-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write the result to this file; its ending selects the format.",
    )
    @wraps(command)
    def with_output(*args: Any, output_format: str | None, output_file: Path | None, **kwargs: Any) -> Any:
        return command(*args, output=Output.of(output_format, output_file), **kwargs)

    return with_output  # type: ignore[return-value]


_OUTPUT_HELP = f"{', '.join(each.value for each in Format)}. Without it: a table on a terminal, JSON lines in a pipe."


def since_option(
    help_text: str = f"Only messages recorded since then: {ACCEPTED}.", default: str | None = None
) -> Callable[[F], F]:
    """Add `--since TIME`."""
    return click.option(
        "--since", "since_at", type=Instant(), default=default, help=help_text, show_default=default is not None
    )


def until_option(help_text: str) -> Callable[[F], F]:
    """Add `--until TIME`, as `until_at`."""
    return click.option("--until", "until_at", type=Instant(), help=help_text)


def topic_filter_argument(command: F) -> F:
    """Add the optional argument FILTER, `#` by default, as `topic_filter`."""
    return click.argument("topic_filter", metavar="[FILTER]", type=TopicFilter(), default="#")(command)
