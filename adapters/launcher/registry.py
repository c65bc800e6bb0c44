"""The components, found in the folders: a package with a `declaration.py` that defines `DECLARATION` is one.

To add a component that `make up` starts, make a package directly below one of `FOLDERS` with `declaration.py` (its name, topics
and settings, see `broker.runtime.declaration`), `component.py` (`on_message` and `on_tick`) and `__main__.py` (whose `main`
calls `broker.runtime.runtime.run`). Then write the generated files again, as CONTRIBUTING.md says.
"""

import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from types import ModuleType

from broker.runtime.declaration import Declaration
from broker.runtime.settings import Settings

FOLDERS = ("storage", "controllers", "adapters", "sim")


@cache
def components() -> dict[str, Declaration]:
    """Return every component's declaration by its name, in the order in which they are started."""
    return {declaration.name: declaration for declaration in _packages()}


def chosen(settings: Settings) -> tuple[str, ...]:
    """Return the components that `make up` starts: those of SCAUP_COMPONENTS, else all whose setting asks for them."""
    return tuple(name for name, each in components().items() if _wanted(each, settings))


def _wanted(declaration: Declaration, settings: Settings) -> bool:
    if settings.components:
        return declaration.name in settings.components
    if declaration.starts_where is None:
        return True
    value = settings.value(declaration.starts_where)
    if not value and declaration.starts_with:
        return (settings.data_dir / declaration.starts_with).exists()
    return value not in ("", "no")


@cache
def package_of(name: str) -> str:
    """Return the dotted name of the package that holds a component; `python -m` of it runs the component.

    Raises:
        KeyError: there is no such component.
    """
    return _packages()[components()[name]]


@cache
def stand_ins() -> dict[str, tuple[str, str]]:
    """Return the interactive programs that `scaup run` starts too, though they are no components: name → module, summary.

    They are the `STAND_INS` of the packages' declarations; the module has a click command `main`.
    """
    return {name: each for _, module in _declarations() for name, each in getattr(module, "STAND_INS", {}).items()}


@cache
def _packages() -> dict[Declaration, str]:
    return {module.DECLARATION: package for package, module in _declarations() if hasattr(module, "DECLARATION")}


def _declarations() -> Iterator[tuple[str, ModuleType]]:
    for folder in FOLDERS:
        for package in (folder, *_subpackages(folder)):
            if "declaration" in (module.name for module in pkgutil.iter_modules(import_module(package).__path__)):
                yield package, import_module(f"{package}.declaration")


def _subpackages(folder: str) -> list[str]:
    paths = import_module(folder).__path__
    return [f"{folder}.{module.name}" for module in pkgutil.iter_modules(paths) if module.ispkg]
