"""`scaup account`: Add, list and remove accounts of people and devices; make new passwords."""

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from adapters.cli.notices import hint, warn
from adapters.cli.options import examples, output_options
from adapters.cli.output.destination import Output
from adapters.client.rows import Rows
from broker.contract.roles import Role

if TYPE_CHECKING:
    from adapters.launcher.accounts import Change, Effect, Outcome

_COLUMNS = ("name", "role", "topics", "made_at", "changed_at")


class AccountName(click.ParamType):  # type: ignore[type-arg]
    """The name of an account; completes those of this machine."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Return the accounts whose names begin as typed."""
        from broker.launch.accounts import AccountError, read_accounts
        from broker.runtime.settings import Settings

        try:
            known = read_accounts(Settings.load().data_dir)
        except AccountError:
            return []
        return [CompletionItem(each) for each in known if each.startswith(incomplete)]


_certificate = click.option(
    "--certificate",
    is_flag=True,
    help="Of a device: print a private key and a certificate to log in with, in place of a password.",
)


@click.group(
    epilog=examples(
        "scaup account add room-7 --role device",
        "scaup account add gateway --role device --topics '/readings/+/temperature' --topics 'press/4/#'",
        "scaup account add room-8 --role device --certificate > room-8.pem",
        "scaup account list",
        "scaup account password room-7",
        "scaup account remove room-7",
    )
)
def account() -> None:
    """Add, list and remove accounts of people and devices; make new passwords.

    They are for the broker and for everything else that asks for a login, and are kept on the machine of the broker: only
    there can they be changed. A change counts within two seconds, without a restart; connections of other accounts stay.

    \b
    device    publishes /readings/NAME/#, machines/NAME/reading and energy/NAME/raw,
              and receives /actuators/NAME and machines/NAME/status
    viewer    reads everything but answers to others
    operator  reads as a viewer, steers the plant and queries the recording
    admin     operates, archives days, creates views and replays
    """  # noqa: D301 - click's mark for lines that are not wrapped


@account.command(
    epilog=examples(
        "scaup account add room-7 --role device",
        "scaup account add gateway --role device --topics '/readings/+/temperature' --topics 'press/4/#'",
    )
)
@click.argument("name")
@click.option("--role", type=click.Choice([each.value for each in Role]), required=True, help="What it is for, see above.")
@click.option(
    "--topics",
    metavar="FILTER",
    multiple=True,
    help="Of a device: publish to this filter in place of its own topics. Of a viewer: read only this. May be repeated.",
)
@_certificate
def add(name: str, role: str, topics: tuple[str, ...], certificate: bool) -> None:
    """Add an account, and print its password, which is shown only now.

    A name has letters of a to z, digits, and . _ - between them. That of a device is the room, machine or ship in its topics.
    """
    from adapters.launcher.accounts import Action, Change

    change = Change(action=Action.ADD, name=name, role=Role(role), topics=topics, certificate=certificate)
    outcome, effect = _request(change)
    _report(effect, f"{name} is {_with_article(role)}; {_print_secret(outcome)}")


@account.command("list", epilog=examples("scaup account list -o json"))
@output_options
def list_(output: Output) -> None:
    """List the accounts that were added. The command line's own is `operator`, with the rights of an admin."""
    from adapters.launcher.accounts import Action, Change

    outcome, _ = _request(Change(action=Action.LIST))
    rows = [(each.name, each.role.value, list(each.topics) or None, each.made_at, each.changed_at) for each in outcome.accounts]
    if not rows:
        hint("there is no account yet: scaup account add NAME --role ROLE")
    output.write(Rows(_COLUMNS, rows))


@account.command(epilog=examples("scaup account remove room-7"))
@click.argument("name", type=AccountName())
def remove(name: str) -> None:
    """Remove an account. Its connections end; one with a certificate may stay open, without any rights."""
    from adapters.launcher.accounts import Action, Change

    _, effect = _request(Change(action=Action.REMOVE, name=name))
    _report(effect, f"{name} is removed")


@account.command(epilog=examples("scaup account password room-7 > room-7.password"))
@click.argument("name", type=AccountName())
@_certificate
def password(name: str, certificate: bool) -> None:
    """Make a new password of an account, and print it. Its connections end; the old one no longer works.

    The same for its certificate.
    """
    from adapters.launcher.accounts import Action, Change

    outcome, effect = _request(Change(action=Action.PASSWORD, name=name, certificate=certificate))
    _report(effect, f"{name} has a new login; {_print_secret(outcome)}")


def _print_secret(outcome: "Outcome") -> str:
    """Print the certificate or the password, and return what to do with it."""
    if outcome.certificate is not None:
        click.echo(outcome.certificate, nl=False)
        return "its private key is not kept: save what was printed, key and certificate, on the device"
    click.echo(outcome.password)
    return "its password is not kept: note it now"


def _request(change: "Change") -> "tuple[Outcome, Effect]":
    from adapters.launcher import accounts, lifecycle

    return accounts.request(lifecycle.load_settings(), change)


def _report(effect: "Effect", done: str) -> None:
    from adapters.launcher.accounts import Effect

    if effect is Effect.UNSEEN:
        warn("the broker has not accepted the new login within 2 s: see `scaup logs broker`")
    later = "; the broker does not run: it counts from the next `make up` on" if effect is Effect.LATER else ""
    hint(f"{done}{later}")


def _with_article(role: str) -> str:
    return f"an {role}" if role[0] in "ao" else f"a {role}"
