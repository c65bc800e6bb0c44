"""`scaup forget`: Forget a room, machine, charger, ship or driver, such as a typing mistake."""

import time
from contextlib import suppress

import click

from adapters.cli.notices import warn
from adapters.cli.options import examples, output_options
from adapters.cli.output.destination import Output
from adapters.client.bus import Bus
from adapters.client.errors import Failed, NotOnline, WrongUsage
from adapters.client.rows import Rows
from adapters.client.session import Session
from adapters.launcher.registry import components
from broker.contract import device_filters, operator_streams, things
from broker.contract.components.topics import FORGET, REJECTED, Forget, removal
from broker.errors import InvalidTopic, Rejected
from broker.mqtt.topics import matches
from broker.stream import AnyStream

TIMEOUT_S = 5.0
POLL_S = 0.1


@click.command(epilog=examples("scaup forget room ofice", "scaup forget machine 99"))
@click.argument("kind", type=click.Choice(sorted(things())))
@click.argument("name")
@output_options
@click.pass_obj
def forget(session: Session, kind: str, name: str, output: Output) -> None:
    """Forget a room, machine, charger, ship or driver, such as a typing mistake.

    Its retained messages are removed, which are listed, and the components forget it, also over a restart. What was recorded of
    it stays. It comes back when it sends again. A charger or driver that is connected, or a driver with an unfinished job, is
    not forgotten: the exit code is then 1.
    """
    try:
        topics = {removal(stream, name).topic: stream for stream in things()[kind]}
    except InvalidTopic as error:
        raise WrongUsage(str(error), f"give the name as the topics have it: `scaup topics '{_filters(kind)}'`") from error
    with session.bus() as bus:
        before = sorted(bus.retained(*topics))
        bus.subscribe(REJECTED.template.filter)
        for topic, stream in topics.items():
            if topic in before and _may_remove(stream):
                bus.publish(removal(stream, name))
        if not bus.publish(FORGET.publication(Forget(kind, name))):
            raise NotOnline("no component takes requests to forget", "start them with `make up`")
        _wait(bus, topics)
    output.write(Rows(("removed",), [(topic,) for topic in before]))
    if not before:
        warn(f"no message of {kind} {name} was retained")


def _may_remove(stream: AnyStream) -> bool:
    """Return whether the operator may publish a stream: what devices and the operator retained."""
    return stream in operator_streams() or any(matches(each, stream.template.filter) for each in device_filters())


def _wait(bus: Bus, topics: dict[str, AnyStream]) -> None:
    """Wait until nothing is retained on the topics."""
    until_s = time.monotonic() + TIMEOUT_S
    while left := bus.retained(*topics):
        while (message := bus.receive(POLL_S)) is not None:
            with suppress(Rejected):
                if REJECTED.parse(message.topic) and (rejected := REJECTED.decode(message)).topic == FORGET.template.text:
                    raise Failed(rejected.reason, "then repeat the command")
        if time.monotonic() >= until_s:
            topic = sorted(left)[0]
            owner = next((name for name, each in components().items() if topics[topic] in each.publishes), "its component")
            raise Failed(
                f"{topic} is still retained", f"is {owner} online? See `scaup status {owner}`, then repeat the command"
            )


def _filters(kind: str) -> str:
    return things()[kind][0].template.filter
