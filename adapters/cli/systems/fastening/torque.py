"""`scaup torque`: Fasten screws with a torque driver, and see what was fastened."""

from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

import click

from adapters.cli.notices import hint
from adapters.cli.options import examples, output_options
from adapters.cli.output.destination import Columns, Output
from adapters.client.errors import Failed
from adapters.client.rows import Rows
from adapters.client.session import Session, rows_of
from broker.contract.fastening import questions as torque_sql
from broker.contract.fastening.topics import REQUEST, Action
from broker.errors import InvalidTopic

if TYPE_CHECKING:
    from adapters.cli.systems.fastening.terminal import Keyboard
    from adapters.client.bus import BusWithWill
    from broker.contract.sql import Statement

DEFAULT_DRIVER = "driver-1"

_RESULTS_FOR_PEOPLE: Columns = {
    "step": itemgetter("step"),
    "N·m": itemgetter("torque_nm"),
    "target": itemgetter("target_nm"),
    "min": itemgetter("min_nm"),
    "max": itemgetter("max_nm"),
    "in range": itemgetter("in_range"),
    "recorded": itemgetter("recorded_at"),
    "driver": itemgetter("driver"),
}
_HISTORY_FOR_PEOPLE: Columns = {
    "received": itemgetter("received_at"),
    "driver": itemgetter("driver"),
    "event": itemgetter("event"),
    "step": itemgetter("step"),
    "N·m": itemgetter("torque_nm"),
    "void": itemgetter("void"),
    "reason": itemgetter("reason"),
}
_SPC_FOR_PEOPLE: Columns = {
    "part": itemgetter("part_number"),
    "rev": itemgetter("revision"),
    "step": itemgetter("step"),
    "min": itemgetter("min_nm"),
    "max": itemgetter("max_nm"),
    "n": itemgetter("n"),
    "mean": itemgetter("mean_nm"),
    "s": itemgetter("sd_nm"),
    "Cp": itemgetter("cp"),
    "Cpk": itemgetter("cpk"),
    "% out": itemgetter("out_of_range_pct"),
}
"""The columns of a table, short enough for a terminal."""


class DriverName(click.ParamType):  # type: ignore[type-arg]
    """The name of a torque driver: one level of a topic."""

    name = "driver"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return a name that can be a topic level, or fail."""
        try:
            REQUEST.template.topic(driver=value)
        except InvalidTopic:
            self.fail(f"{value!r} cannot be a driver: it is one level of a topic, such as {DEFAULT_DRIVER}", param, ctx)
        return value


_driver_option = click.option(
    "--driver", type=DriverName(), default=DEFAULT_DRIVER, show_default=True, metavar="DRIVER", help="The torque driver."
)


@click.group(
    invoke_without_command=True,
    epilog=examples("scaup torque run --serial RP-000123", "scaup torque results RP-000123", "scaup torque"),
)
@click.pass_context
def torque(ctx: click.Context) -> None:
    """Fasten screws with a torque driver, and see what was fastened.

    Without a command, it is a menu: run a job, look up the results of a serial number, list serial numbers, quit.
    """
    if ctx.invoked_subcommand is None:
        _menu(ctx.find_object(Session) or Session())


@torque.command(
    epilog=examples(
        "scaup torque run", "scaup torque run --serial RP-000123 --driver driver-2", "echo RP-000123 | scaup torque run"
    )
)
@click.option("--serial", metavar="SERIAL", help="The serial number; without it, the console prompts for it.")
@_driver_option
@click.pass_obj
def run(session: Session, serial: str | None, driver: str) -> None:
    """Run a job: fasten every screw of one serial number, step by step.

    The fastening controller owns the job; this console shows it, line by line on standard output. A screw that is out of range
    is loosened and fastened again. If the driver does not answer, the console asks whether to send the step again (r) or to
    cancel the job (c).

    Ctrl-C pauses the job and resets the driver; running the same serial number again resumes it, at any driver. Exits with 0
    when the job is complete, with 1 when it was paused or cancelled or the input ended before, with 3 if no fastening
    controller answers, and with 4 if another console holds the driver or the serial number.
    """
    from adapters.cli.systems.fastening.terminal import standard_input

    _run(session, serial, driver, standard_input())


@torque.command(epilog=examples("scaup torque results RP-000123", "scaup torque results RP-000123 --history -o csv"))
@click.argument("serial")
@click.option("--history", is_flag=True, help="Its whole history instead, voided results included.")
@output_options
@click.pass_obj
def results(session: Session, serial: str, history: bool, output: Output) -> None:
    """Show the actual torque of every step of a serial number.

    One row per step that has a result. Steps without one are named on standard error. Exits with 1 if there is none.
    """
    if history:
        _show_history(session, serial, output)
    else:
        _show_results(session, serial, output)


@torque.command(epilog=examples("scaup torque serials", "scaup torque serials --part 10-00045"))
@click.option("--part", metavar="PART", help="Only those of this part number.")
@output_options
@click.pass_obj
def serials(session: Session, part: str | None, output: Output) -> None:
    """List serial numbers, and how many of their steps are fastened in range."""
    _show_serials(session, part, output)


@torque.command(epilog=examples("scaup torque spc", "scaup torque spc 10-00045"))
@click.argument("part", required=False)
@output_options
@click.pass_obj
def spc(session: Session, part: str | None, output: Output) -> None:
    """Show the process capability of each step: Cp, Cpk and the share out of range.

    Every recorded tightening counts, also those that were voided and repeated: capability describes the process, not the
    result after rework. With the mean m and the sample standard deviation s, in N·m:
    Cp = (max - min) / (6 s), Cpk = min(max - m, m - min) / (3 s). Both are empty for fewer than two tightenings, and where s
    is 0.
    """
    rows = _rows(session, torque_sql.spc(part))
    if not rows:
        of_part = f" of part {part}" if part else ""
        raise Failed(f"no tightening{of_part} was recorded yet", "run a job: scaup torque run")
    output.write_dicts(rows, _SPC_FOR_PEOPLE)


@torque.command(epilog=examples("scaup torque cancel", "scaup torque cancel --driver driver-2"))
@_driver_option
@output_options
@click.pass_obj
def cancel(session: Session, driver: str, output: Output) -> None:
    """Cancel the unfinished job of a driver, even if another console holds it.

    The driver is reset. Recorded results stay; the next job of that serial number begins with its first step.
    """
    from adapters.cli.systems.fastening.requests import DriverRequests, console_name, no_answer, refusal

    with session.bus() as bus:
        requests = DriverRequests(bus, driver, console_name())
        requests.subscribe()
        answer = requests.request(Action.CANCEL)
    if answer is None:
        raise no_answer()
    if answer.error is not None:
        raise refusal(answer.error)
    job = answer.job
    output.write(Rows(("driver", "serial", "cancelled"), [(driver, job.serial if job is not None else None, True)]))


def _run(session: Session, serial: str | None, driver: str, keyboard: "Keyboard") -> None:
    from adapters.cli.systems.fastening.console import SESSION_S, Console
    from adapters.cli.systems.fastening.requests import console_name

    with session.bus(session_expiry_s=SESSION_S) as bus:
        Console(cast("BusWithWill", bus), driver, console_name(), keyboard).run(serial)


def _show_results(session: Session, serial: str, output: Output) -> None:
    rows = _rows(session, torque_sql.results(serial))
    known = _rows(session, torque_sql.steps(serial))
    if not rows and not known:
        raise Failed(f"serial number {serial} is not in the catalog, and has no results", "see scaup torque serials")
    if not rows:
        raise Failed(f"no results for {serial}: it has not been fastened yet", f"scaup torque run --serial {serial}")
    output.write_dicts(rows, _RESULTS_FOR_PEOPLE)
    done = {each["step"] for each in rows}
    if missing := [str(each["step"]) for each in known if each["step"] is not None and each["step"] not in done]:
        hint(f"not fastened yet: step {', '.join(missing)}")


def _show_history(session: Session, serial: str, output: Output) -> None:
    rows = _rows(session, torque_sql.history(serial))
    if not rows:
        raise Failed(f"nothing was recorded of serial number {serial}", "see scaup torque serials")
    output.write_dicts(rows, _HISTORY_FOR_PEOPLE)


def _show_serials(session: Session, part: str | None, output: Output) -> None:
    rows = _rows(session, torque_sql.serials(part))
    if not rows:
        fix = "scaup torque serials lists all" if part else "the fastening controller publishes it: scaup status fastening"
        raise Failed(
            f"no serial number of part {part}"
            if part
            else "there is no serial number in the catalog, or the catalog has not been recorded yet",
            fix,
        )
    output.write_dicts(rows)


def _rows(session: Session, statement: "Statement") -> list[dict[str, Any]]:
    return rows_of(session, statement.sql, statement.parameters)


def _menu(session: Session) -> None:
    from adapters.cli.systems.fastening.terminal import Choice, ask_line, show_menu, standard_input

    keyboard, output = standard_input(), Output.of(None, None)

    def look_up() -> None:
        if (serial := ask_line("Serial number:", keyboard)) is not None:
            _show_results(session, serial, output)

    choices = (
        Choice("Run a job", lambda: _run(session, None, DEFAULT_DRIVER, keyboard)),
        Choice("Look up the results of a serial number", look_up),
        Choice("List serial numbers", lambda: _show_serials(session, None, output)),
        Choice("Quit"),
    )
    show_menu(choices, keyboard)
