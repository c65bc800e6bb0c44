"""`scaup run`: Run one component in the foreground."""

import sys
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from adapters.cli.importing import importing
from adapters.cli.options import ComponentName, examples
from adapters.client.errors import Failed, WrongUsage


class Runnable(ComponentName):
    """The name of a component or of a simulated device; completes both."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin as typed."""
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

    It logs to standard error and announces itself online once it is subscribed and working; on SIGTERM or Ctrl-C it finishes
    its work, announces itself offline and exits with 0. Options after NAME are the component's own: `scaup run NAME --help`
    lists them.

    Two more names are not components and need no broker: sim-charger and sim-widget, a single charger and a single widget.
    """
    from adapters.launcher.registry import components, package_of, stand_ins

    if name in stand_ins():
        _run_stand_in(name, stand_ins()[name][0], options)
        return
    if name not in components():
        names = ", ".join([*components(), *stand_ins()])
        raise WrongUsage(f"there is no component {name!r}", f"choose from {names}")
    with importing():
        module = import_module(f"{package_of(name)}.__main__")
    main = getattr(module, "main", None)
    if main is None:
        raise Failed(f"{module.__name__} has no main()", "define main() there: it runs the component")
    if options and not isinstance(main, click.Command):  # such a component would start, and take the place of the running one
        if options[0] in ("-h", "--help"):
            click.echo(f"{name} has no options; `scaup config` lists its settings")
            return
        raise WrongUsage(f"{name} has no option {options[0]!r}", f"type `scaup run {name}`")
    sys.argv = [f"scaup run {name}", *options]
    main()


def _run_stand_in(name: str, module: str, options: tuple[str, ...]) -> None:
    """Run a simulated device in this process; its errors and exit code are those of a command."""
    with importing():
        command = import_module(module).main
    command.main(args=list(options), prog_name=f"scaup run {name}", standalone_mode=False)
