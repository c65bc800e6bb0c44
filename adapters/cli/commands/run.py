"""`scaup run`."""

import sys
from importlib import import_module

import click

from adapters.cli.errors import Failed, WrongUsage
from adapters.cli.options import ComponentName, examples


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=examples("scaup run heating", "scaup run sim-rooms --rooms 5"),
)
@click.argument("name", type=ComponentName())
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF THE COMPONENT]...")
def run(name: str, options: tuple[str, ...]) -> None:
    """Run one component in the foreground.

    It logs to standard error and announces itself online when it really works; on SIGTERM or Ctrl-C it finishes what it has,
    announces itself offline and exits with 0. What follows NAME goes to the component.
    """
    from adapters.cli.registry import components, package_of

    if name not in components():
        raise WrongUsage(f"no component is called {name!r}", f"choose from {', '.join(components())}")
    module = import_module(f"{package_of(name)}.__main__")
    main = getattr(module, "main", None)
    if main is None:
        raise Failed(f"{module.__name__} has no main()", "define it there: it is what runs the component")
    sys.argv = [f"scaup run {name}", *options]
    main()
