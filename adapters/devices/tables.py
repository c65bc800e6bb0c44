"""The views of declared tables, as requests to the recorder. Pure."""

from collections.abc import Iterable

from adapters.devices.declared import Declared
from broker.contract.storage.topics import Action, StorageRequest, ViewColumn


def requests_of(declared: Iterable[Declared]) -> dict[str, StorageRequest]:
    """Return the request for the view of each declared table, by its NAME."""
    return {each.name: _request(each) for each in declared if each.kind == "table" and each.source}


def _request(declared: Declared) -> StorageRequest:
    columns = [
        ViewColumn(
            name=name,
            type=declared.types[name],  # type: ignore[arg-type]
            path=rule.path,
            pick=dict(rule.pick),
            default=rule.default,
            strip=rule.strip,
            number=rule.number,
            map=dict(rule.map or {}),
            scale=rule.scale,
            offset=rule.offset,
            low=rule.low,
            high=rule.high,
        )
        for name, rule in declared.values.items()
    ]
    return StorageRequest(
        action=Action.CREATE_VIEW,
        name=declared.name,
        filter=declared.source,
        columns=tuple(columns),
        time=declared.time,
    )
