"""The retained state of each declaration. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

from adapters.devices.catalog import Catalog
from adapters.devices.mapper import Counts
from broker.contract.components.topics import removal
from broker.contract.devices.topics import STATE, DeviceState
from broker.message import Publication
from broker.stamp import rfc3339

MOST_AT_ONCE = 20
"""States published in one tick, so that thousands of busy devices do not fill the broker with counts."""
MOST_NEW_AT_ONCE = 500
"""The same of declarations that have none yet."""

_NO_COUNTS = Counts()


class States:
    """The states as they were published last."""

    def __init__(self) -> None:
        self._published: dict[str, DeviceState] = {}
        self._waiting: dict[str, None] = {}
        self.links: Mapping[str, Literal["online", "offline"]] = {}
        """`online` or `offline`, of the declarations whose protocol shows it."""
        self._errors: dict[str, tuple[str, str]] = {}

    def load(self, catalog: Catalog, now_at: datetime) -> list[Publication]:
        """Take what is declared now: remove the states of what is not, and publish the others soon."""
        known = _files(catalog)
        self._errors = {name: self._error(name, str(error), now_at) for name, error in self._errors_of(catalog).items()}
        for name in known:
            self._waiting[name] = None
        removed = [each for each in self._published if each not in known]
        for name in removed:
            del self._published[name]
        return [removal(STATE, name) for name in removed]

    @property
    def names(self) -> list[str]:
        """The declarations with a published state."""
        return sorted(self._published)

    def adopt(self, name: str) -> None:
        """Note that the broker has a retained state of an earlier start; `load` removes it if there is no such declaration."""
        self._published.setdefault(name, DeviceState(kind="", file="", active=False))

    def publications(self, catalog: Catalog, counts: Mapping[str, Counts], changed: Iterable[str]) -> list[Publication]:
        """Return the states that differ from what was published, as many as may be published at once."""
        for name in changed:
            self._waiting[name] = None
        if not self._waiting:
            return []
        known, active = _files(catalog), catalog.declared
        found: list[Publication] = []
        again = 0
        for name in list(self._waiting):
            if again == MOST_AT_ONCE or len(found) == MOST_NEW_AT_ONCE:
                break
            del self._waiting[name]
            if name not in known:
                continue
            state = self._state(name, known[name], name in active, counts.get(name, _NO_COUNTS))
            if state != self._published.get(name):
                again += name in self._published
                self._published[name] = state
                found.append(STATE.publication(state, device=name))
        return found

    def _state(self, name: str, file: str, active: bool, counts: Counts) -> DeviceState:
        error, error_at = self._errors.get(name, (counts.error, counts.error_at))
        return DeviceState(
            kind=name.split(".")[0],
            file=file,
            active=active,
            link=self.links.get(name),
            mapped=counts.mapped,
            ignored=counts.ignored,
            rejected=counts.rejected,
            error=error,
            error_at=error_at,
        )

    @staticmethod
    def _errors_of(catalog: Catalog) -> dict[str, str]:
        """Return the errors of files by declaration. A file whose only NAME is that of another file shows there."""
        files = _files(catalog)
        found = {name: str(catalog.errors[file]) for name, file in files.items() if file in catalog.errors}
        for file, error in catalog.errors.items():
            if (name := ".".join(error.keys[:2])) in files and file not in files.values():
                found.setdefault(name, str(error))
        return found

    def _error(self, name: str, text: str, now_at: datetime) -> tuple[str, str]:
        """Return an error with its time: that of the first look that found it."""
        known = self._errors.get(name)
        return known if known is not None and known[0] == text else (text, rfc3339(now_at))


def _files(catalog: Catalog) -> dict[str, str]:
    """Return the file of each declaration, those included that an unusable file would have."""
    return {**catalog.broken, **{name: each.file for name, each in catalog.declared.items()}}
