"""`scaup`, the command line. Each command is a module of its own, found and loaded by `adapters.cli.lazy`."""

from adapters.cli.importing import importing

with importing():
    import click

    from adapters.cli.lazy import LazyGroup
    from adapters.cli.session import new_session

EPILOG = """\b
Exit codes: 0 done, 1 the answer is "no", 2 wrong usage, 3 broker or recorder not reachable,
4 refused (access, limits), 130 interrupted.

\b
Example:
  scaup query "SELECT room, avg(celsius) FROM room_temperature GROUP BY room"
"""


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from broker.runtime.settings import release

        click.echo(f"scaup {release()}")
        ctx.exit()


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version.")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Watch, ask and steer an MQTT plant that remembers everything.

    Results go to standard output, everything else to standard error, so every command can be piped.
    """
    if ctx.obj is None:
        ctx.obj = new_session()


if __name__ == "__main__":
    cli()
