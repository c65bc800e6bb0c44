"""`scaup run`: Run one component in the foreground."""

import sys
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from adapters.cli.importing import importing
from adapters.cli.options import ComponentName, examples
from adapters.client.errors import Failed, WrongUsage


class Runnable(ComponentName):
    """The name of a component or of a stand-in; completes both."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return what can be run and begins as typed."""
        from adapters.launcher.registry import stand_ins

        found = [CompletionItem(name, help=text) for name, (_, text) in stand_ins().items() if name.startswith(incomplete)]
        return [*super().shell_complete(ctx, param, incomplete), *found]


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=examples("scaup run heating", "scaup run sim-rooms --rooms 5", "scaup run sim-charger --id c1234"),
)
@click.argument("name", type=Runnable())
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF THE COMPONENT]...")
def run(name: str, options: tuple[str, ...]) -> None:
    """Run one component in the foreground.

    It logs to standard error and announces itself online when it really works; on SIGTERM or Ctrl-C it finishes what it has,
    announces itself offline and exits with 0. What follows NAME goes to the component; `scaup run NAME --help` lists it.

    Two more need no broker and are no components: sim-charger and sim-widget, a charger and a widget by hand.
    """
    from adapters.launcher.registry import components, package_of, stand_ins

    if name in stand_ins():
        _be(name, stand_ins()[name][0], options)
        return
    if name not in components():
        names = ", ".join([*components(), *stand_ins()])
        raise WrongUsage(f"no component is called {name!r}", f"choose from {names}")
    with importing():
        module = import_module(f"{package_of(name)}.__main__")
    main = getattr(module, "main", None)
    if main is None:
        raise Failed(f"{module.__name__} has no main()", "define it there: it is what runs the component")
    sys.argv = [f"scaup run {name}", *options]
    main()


def _be(name: str, module: str, options: tuple[str, ...]) -> None:
    """Be a stand-in; its errors are shown, and its exit code given, as those of every command."""
    with importing():
        command = import_module(module).main
    command.main(args=list(options), prog_name=f"scaup run {name}", standalone_mode=False)
