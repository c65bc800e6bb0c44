"""Steps that the Makefile and containers run, one of those below: `python -m adapters.launcher STEP`."""

import os
import sys
from pathlib import Path

import click
import msgspec

from adapters.client.declaration import OPERATOR
from adapters.client.errors import ClientError
from adapters.launcher import accounts, lifecycle, preflight
from adapters.launcher.compose import TAKEN, prepare_volume
from adapters.launcher.registry import components
from broker.errors import BusError
from broker.launch.credentials import write_private


@click.group()
def steps() -> None:
    """Run one step of starting or testing the system."""


@steps.command()
def prepare() -> None:
    """Write accounts, access rules and the broker's configuration; a container does this before the broker starts."""
    prepare_volume(lifecycle.load_settings())


@steps.group()
def certificate() -> None:
    """Make the certificate of the listeners, inside a container."""


@certificate.command()
@click.option("--name", "names", multiple=True)
def init(names: tuple[str, ...]) -> None:
    """Make an authority and a certificate, as far as they are missing."""
    from broker.launch import certificates

    for each in certificates.ensure(lifecycle.load_settings(), names, of_host=False):
        click.echo(each)


@certificate.command()
def renew() -> None:
    """Make a new certificate of the same authority."""
    from broker.launch import certificates

    click.echo(f"valid until {certificates.renew(lifecycle.load_settings(), of_host=False).not_after:%Y-%m-%d}")


@certificate.command()
def take() -> None:
    """Keep the certificate and key that standard input has."""
    path = Path(TAKEN)
    path.parent.mkdir(mode=0o755, exist_ok=True)
    write_private(path, sys.stdin.read())


@steps.command()
@click.argument("change")
def account(change: str) -> None:
    """Change an account in the files of this data directory; a container does this for `scaup account`."""
    wanted = msgspec.json.decode(change, type=accounts.Change)
    outcome = accounts.carry_out(lifecycle.load_settings().data_dir, wanted)
    click.echo(msgspec.json.encode(outcome))


@steps.command()
@click.argument("names", nargs=-1)
def check(names: tuple[str, ...]) -> None:
    """Check the files and sessions of components in this data directory; a container does this for `scaup doctor`."""
    from adapters.launcher.checks.client_ids import check_client_ids, session_at
    from adapters.launcher.checks.data_dir import check_data_dir

    settings = lifecycle.load_settings()
    expected = {name: components()[name] for name in names}
    findings = check_data_dir(settings.data_dir, {**components(), OPERATOR.name: OPERATOR})
    findings += check_client_ids(settings.data_dir, expected, session_at(settings, OPERATOR.name))
    click.echo(msgspec.json.encode(findings))


@steps.command()
def need_broker() -> None:
    """Make sure that tests find a broker: a container engine that answers, or a Mosquitto on this machine."""
    if os.environ.get("SCAUP_TEST_BROKER") == "local" or not lifecycle.engine_answers():
        preflight.ensure_broker()


@steps.command()
def need_prometheus() -> None:
    """Make sure that tests find Prometheus, where it can be installed; else those that need it are skipped, and say so."""
    if not preflight.ensure_prometheus():
        click.echo("prometheus is not installed: tests that need it are skipped (sudo apt-get install prometheus)", err=True)


@steps.command()
def need_browser() -> None:
    """Make sure that tests find a browser, where it can be installed; else those of the page are skipped, and say so."""
    if not preflight.ensure_browser():
        click.echo("chromium is not installed: tests of the page are skipped (sudo apt-get install chromium)", err=True)


@steps.command()
def need_lake() -> None:
    """Make sure that tests find PostgreSQL, where it can be installed; else those of the lake are skipped, and say so."""
    if not preflight.ensure_postgres():
        click.echo("postgresql is not installed: tests of the lake are skipped (sudo apt-get install postgresql)", err=True)


@steps.command()
def runs() -> None:
    """Exit with 0 if a system is up on the data directory, with 1 if not; `make clean` checks this first."""
    raise SystemExit(not lifecycle.is_up(lifecycle.load_settings()))


def main() -> None:
    """Run a step; an error ends it with its fix and exit code 1."""
    try:
        steps()
    except ClientError as error:
        click.echo(f"Error: {error.message}\nFix: {error.fix}", err=True)
        sys.exit(1)
    except BusError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
