"""The one list of components, found in the folders: a package with a `declaration.py` is a component."""

import pkgutil
from functools import cache
from importlib import import_module

from broker.runtime.declaration import Declaration

STAND_INS = {
    "sim-charger": ("sim.chargers.charger_by_hand", "one charger by hand: pick its state of charge"),
    "sim-widget": ("sim.chargers.widget_by_hand", "one widget by hand: see its LED"),
}
"""Programs for people that `scaup run` starts too, though they are no components: where their `main` is, and what they do."""

FOLDERS = ("storage", "controllers", "adapters", "sim")


@cache
def components() -> dict[str, Declaration]:
    """Return every component's declaration by its name, in the order in which they are started."""
    return {declaration.name: declaration for declaration in _packages()}


@cache
def package_of(name: str) -> str:
    """Return the dotted name of the package that holds a component; `python -m` of it runs the component.

    Raises:
        KeyError: there is no such component.
    """
    declaration = components()[name]
    return _packages()[declaration]


@cache
def _packages() -> dict[Declaration, str]:
    found = {}
    for folder in FOLDERS:
        for package in (folder, *_subpackages(folder)):
            if (declaration := _declaration(package)) is not None:
                found[declaration] = package
    return found


def _subpackages(folder: str) -> list[str]:
    paths = import_module(folder).__path__
    return [f"{folder}.{module.name}" for module in pkgutil.iter_modules(paths) if module.ispkg]


def _declaration(package: str) -> Declaration | None:
    names = {module.name for module in pkgutil.iter_modules(import_module(package).__path__)}
    if "declaration" not in names:
        return None
    return getattr(import_module(f"{package}.declaration"), "DECLARATION", None)
