"""`scaup`, the command line. Each command lives in a module of its own and is loaded when it is called."""

from adapters.cli.importing import importing

with importing():
    import click

    from adapters.cli.lazy import LazyGroup
    from adapters.client.session import Session

_COMMANDS = "adapters.cli.commands"
_SYSTEMS = "adapters.cli.systems"
_LIFECYCLE = "adapters.cli.commands.lifecycle"

COMMANDS = {
    "up": (f"{_LIFECYCLE}:up", "Start everything and wait until it is healthy."),
    "down": (f"{_LIFECYCLE}:down", "Stop everything cleanly."),
    "logs": (f"{_LIFECYCLE}:logs", "Show what the components log."),
    "status": (f"{_COMMANDS}.status:status", "Show the broker and which components are online."),
    "doctor": (f"{_COMMANDS}.doctor:doctor", "Check the whole installation and name the fix for what is wrong."),
    "config": (f"{_COMMANDS}.config:config", "List every setting with its value and where it came from."),
    "run": (f"{_COMMANDS}.run:run", "Run one component in the foreground."),
    "query": (f"{_COMMANDS}.query:query", "Ask the recorded data in SQL."),
    "tables": (f"{_COMMANDS}.tables:tables", "List tables and views with their columns and rows."),
    "topics": (f"{_COMMANDS}.topics:topics", "List the recorded topics."),
    "last": (f"{_COMMANDS}.last:last", "Show the last message of each topic."),
    "tail": (f"{_COMMANDS}.tail:tail", "Show messages: the last ones, then live ones with -f."),
    "gaps": (f"{_COMMANDS}.gaps:gaps", "List what publishers sent and the recording has not, has twice, or has late."),
    "verify": (f"{_COMMANDS}.verify:verify", "Balance the whole recording, and name every difference."),
    "views": (f"{_COMMANDS}.views:views", "List typed views of recorded topics; with FILTER: create one."),
    "archive": (f"{_COMMANDS}.archive:archive", "Move days that are over into Parquet files, list them, and bring them back."),
    "export": (
        f"{_COMMANDS}.export:export",
        "Write recorded messages to a file: CSV, JSON lines, JSON or Parquet, of any size.",
    ),
    "replay": (f"{_COMMANDS}.replay:replay", "Publish recorded messages again, with their original spacing."),
    "heating": (f"{_SYSTEMS}.heating.heating:heating", "Heating: how well the rooms do, and their setpoints."),
    "torque": (f"{_SYSTEMS}.fastening.torque:torque", "Fasten screws with a torque driver, and see what was fastened."),
    "machines": (
        f"{_SYSTEMS}.machines.machines:machines",
        "Machines: their readings with moving averages, anomalies, and their job status.",
    ),
    "energy": (
        f"{_SYSTEMS}.energy.energy:energy",
        "Energy: import consumption data, and show it as kWh per quarter of an hour.",
    ),
    "chargers": (
        f"{_SYSTEMS}.charging.chargers:chargers",
        "Chargers: their state of charge and widgets now, and their sessions.",
    ),
    "completion": (f"{_COMMANDS}.completion:completion", "Print the completion script of a shell."),
}

EPILOG = """\b
Exit codes: 0 done, 1 the answer is "no", 2 wrong usage, 3 broker or recorder not reachable,
4 refused (access, limits), 130 interrupted.

\b
Example:
  scaup query "SELECT room, avg(celsius) FROM room_temperature GROUP BY room"
"""


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from broker.runtime.version import VERSION

        click.echo(f"scaup {VERSION}")
        ctx.exit()


@click.group(cls=LazyGroup, lazy=COMMANDS, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version.")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Watch, ask and steer an MQTT plant that remembers everything.

    Results go to standard output, everything else to standard error, so every command can be piped.
    """
    if ctx.obj is None:
        ctx.obj = Session()


if __name__ == "__main__":
    cli()
