"""`scaup tls`: Make or renew the certificate with which listeners speak TLS."""

from collections.abc import Callable
from typing import Any

import click

from adapters.cli.options import examples
from adapters.client.errors import WrongUsage
from adapters.launcher import lifecycle
from broker.errors import InvalidSetting

_FIX = "see the text above; `scaup tls --help` explains it"


class HostName(click.ParamType):  # type: ignore[type-arg]
    """A host name or an IP address."""

    name = "host"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name as a certificate has it, or fail."""
        from broker.launch.certificates import host_name

        try:
            return host_name(value)
        except InvalidSetting as error:
            self.fail(str(error), param, ctx)


@click.group(epilog=examples("scaup tls init --name plant.example"))
def tls() -> None:
    """Make or renew the certificate with which listeners speak TLS.

    Where SCAUP_BIND opens listeners to other machines, they speak TLS. `make up` makes an authority and a certificate for them
    if there is none; SCAUP_TLS_CERT and SCAUP_TLS_KEY name one of your own instead. Clients need the authority's certificate,
    tls/ca.pem in the data directory.
    """


@tls.command(epilog=examples("scaup tls init", "scaup tls init --name plant.example --name 192.0.2.7"))
@click.option(
    "--name", "names", type=HostName(), multiple=True, metavar="HOST", help="A further name or address of this machine."
)
def init(names: tuple[str, ...]) -> None:
    """Make an authority, and a certificate for this machine.

    The certificate is for the name of this machine, `localhost`, the addresses of SCAUP_BIND, the names in SCAUP_HOST_NAMES,
    and those given here, now or earlier. The authority stays if there is one, so that clients need no new file. With TLS set
    up, MQTT with TLS listens on loopback, too.
    """
    _report(lambda: lifecycle.set_up_tls(lifecycle.load_settings(), names))


@tls.command(epilog=examples("scaup tls renew"))
def renew() -> None:
    """Replace the certificate, while everything runs.

    The new certificate is of the same authority and valid for 397 days; clients stay connected and need no new file. With a
    certificate of your own (SCAUP_TLS_CERT), checks it and lets the listeners read it again.
    """
    _report(lambda: lifecycle.renew_certificate(lifecycle.load_settings()))


def _report(work: Callable[[], list[str]]) -> None:
    try:
        lines = work()
    except InvalidSetting as error:
        what, _, fix = str(error).rpartition(": ")
        raise WrongUsage(what or str(error), fix or _FIX) from error
    for line in lines:
        click.echo(line)
