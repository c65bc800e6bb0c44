"""The declarations that are active: those of every usable file, and of an unusable one what it declared before. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.devices.declarations import check_together, read_file
from adapters.devices.declared import DeclarationError, Declared, is_name
from adapters.devices.lines import Lines
from broker.contract.devices.topics import KINDS


@dataclass(frozen=True, slots=True)
class Unusable:
    """A file that cannot be read at all, with the reason in place of its text."""

    reason: str


Texts = Mapping[str, str | Unusable]
"""File name → content."""


class Catalog:
    """The files as they are now, what they declare, and why some of them cannot be used."""

    def __init__(self) -> None:
        self._texts: dict[str, str | Unusable] = {}
        self._active: dict[str, tuple[Declared, ...]] = {}
        self._good: dict[str, str] = {}
        self.errors: dict[str, DeclarationError] = {}
        """The first thing that is wrong with each unusable file, by its name."""

    @property
    def declared(self) -> dict[str, Declared]:
        """The active declarations by `KIND.NAME`."""
        return {each.id: each for file in sorted(self._active) for each in self._active[file]}

    @property
    def broken(self) -> dict[str, str]:
        """The file of each declaration that is not active because its file cannot be used, by `KIND.NAME`."""
        active = self.declared
        found = {}
        for file, error in self.errors.items():
            text = self._texts[file]
            tables = Lines(text).tables if isinstance(text, str) else []
            for kind, name in [*tables, *([error.keys[:2]] if len(error.keys) > 1 else [])]:
                if kind in KINDS and is_name(name) and f"{kind}.{name}" not in active:
                    found[f"{kind}.{name}"] = file
        return found

    @property
    def good(self) -> dict[str, str]:
        """The texts that the active declarations come from, to be kept over a restart."""
        return dict(self._good)

    def restore(self, good: Mapping[str, str]) -> None:
        """Take the usable texts of an earlier start, with which `update` compares the files of this one."""
        self.update(good)

    def update(self, texts: Texts) -> None:
        """Take the files as they are now.

        A file that conflicts with another one is refused if it is the one that has changed, or else the later by name.
        """
        for file in [each for each in self._active if each not in texts]:
            del self._active[file]
            self._good.pop(file, None)
        changed = {file for file, text in texts.items() if self._texts.get(file) != text or file in self.errors}
        before = {file: self._active.pop(file) for file in sorted(changed) if file in self._active}
        self._texts, self.errors = dict(texts), {}
        for file in sorted(changed):
            try:
                self._add(file, _read(file, texts[file]))
                self._good[file] = str(texts[file])
            except DeclarationError as error:
                self.errors[file] = error
        for file in [each for each in self.errors if each in before]:
            try:
                self._add(file, before[file])
            except DeclarationError:  # another file has taken a name of it
                self._good.pop(file, None)

    def _add(self, file: str, declared: tuple[Declared, ...]) -> None:
        check_together([*(self._active[each] for each in sorted(self._active)), declared])
        self._active[file] = declared


def _read(file: str, text: str | Unusable) -> tuple[Declared, ...]:
    if isinstance(text, Unusable):
        raise DeclarationError(file, 1, (), text.reason)
    return read_file(file, text)
