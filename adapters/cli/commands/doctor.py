"""`scaup doctor`: Check the whole installation, and name a fix for each problem."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import click

from adapters.cli.backups import in_containers
from adapters.cli.options import examples, output_options
from adapters.cli.output.destination import Output
from adapters.client.declaration import OPERATOR
from adapters.client.errors import ClientError
from adapters.client.requests import component_states, component_warnings
from adapters.client.rows import Rows
from adapters.client.session import Session, rows_of
from adapters.launcher import security
from adapters.launcher.checks import Finding, Verdict, broker, failed, ok, recorder, warning
from adapters.launcher.checks.client_ids import check_client_ids, session_at
from adapters.launcher.checks.data_dir import check_data_dir
from adapters.launcher.checks.lake import check_lake
from adapters.launcher.checks.machine import check_machine
from adapters.launcher.checks.outside import check_outside
from adapters.launcher.checks.roles import check_roles
from adapters.launcher.registry import chosen, components
from broker.contract.components.topics import STATE, WARNING

_COLUMNS = ("check", "result", "detail", "fix")


@click.command(epilog=examples("scaup doctor"))
@output_options
@click.pass_context
def doctor(ctx: click.Context, output: Output) -> None:
    """Check the whole installation, and name a fix for each problem.

    Checks versions, disk, ports, permissions, certificate, the broker and its settings, every account and its access rules,
    what each role may do (tried on a separate broker, which leaves no trace in this one), whether ports that are open to
    other machines ask for a login, client ids that can be guessed, the recorder, the lake of a joined site, the clock, and
    which components are online. Safe while everything runs. Exits with 1 if a check failed.
    """
    findings = list(_check(ctx.obj))
    output.write(Rows(_COLUMNS, [(each.check, each.verdict.value, each.detail, each.fix or None) for each in findings]))
    if any(each.verdict is Verdict.FAILED for each in findings):
        ctx.exit(1)


def _check(session: Session) -> Iterator[Finding]:
    settings = session.settings
    declarations = {**components(), OPERATOR.name: OPERATOR}
    yield from check_machine(settings)
    expected = chosen(settings)
    with_volume = in_containers(settings)
    if with_volume:
        yield from _on_the_volume(session, expected)
    else:
        yield from check_data_dir(settings.data_dir, declarations)
    yield from check_roles(declarations)
    yield from security.check(settings)
    started = [components()[name] for name in expected]
    yield from check_outside(settings, started)
    yield from check_lake(settings)
    try:
        yield from _on_the_bus(session)
        yield from broker.check_access(settings, declarations, session.login)
        if not with_volume:
            by_name = {name: components()[name] for name in expected}
            yield from check_client_ids(settings.data_dir, by_name, session_at(settings, OPERATOR.name))
    except ClientError as error:
        yield failed("broker", error.message, error.fix)
    yield _clock(session)
    yield broker.answers_hidden(session.login, lambda: rows_of(session, "SELECT 1"))


def _on_the_volume(session: Session, expected: Iterable[str]) -> Iterator[Finding]:
    """Check what only containers can read."""
    from adapters.launcher import lifecycle

    try:
        yield from lifecycle.compose(session.settings).check_volume(expected)
    except ClientError as error:
        yield warning("volume", f"not checked: {error.message}", "type `make up`: it starts the recorder")


def _on_the_bus(session: Session) -> Iterator[Finding]:
    with session.bus() as bus:
        retained = bus.retained(
            STATE.template.filter, WARNING.template.filter, recorder.STATS_TOPIC, broker.VERSION, broker.DROPPED
        )
    yield ok("broker", f"answers at {session.settings.mqtt_host}:{session.settings.mqtt_port}")
    yield from broker.check_broker(retained)
    yield from recorder.check_recorder(retained, datetime.now(UTC))
    yield from recorder.check_components(chosen(session.settings), component_states(retained.values()))
    for name, text in component_warnings(retained.values()).items():
        yield warning(
            name, text, f"find the device that sends them: see `scaup logs {name}` and `scaup tail 'rejected/{name}'`"
        )


def _clock(session: Session) -> Finding:
    try:
        newest = rows_of(session, "SELECT arg_max(received_at, number) AS newest FROM messages")[0]["newest"]
    except ClientError as error:
        return warning("clock", f"not compared with the recording: {error.message}", error.fix)
    return recorder.clock(recorder.as_instant(newest), datetime.now(UTC))
