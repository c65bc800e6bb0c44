"""Stamps that prove nothing: claims.

Everybody may publish what a device does, also with the stamp of one of our components. And a component's stamp is wrong on a
topic that only another component may publish to. Such a stamp is recorded and shown, and no command fails because of it.
"""

from collections.abc import Iterable
from functools import cache

from adapters.client.declaration import OPERATOR
from adapters.launcher.registry import components
from broker.contract import device_filters, replay
from broker.contract.sql import literal
from broker.launch.access import publish_filters
from broker.mqtt.topics import filter_pattern


@cache
def claimed_sql() -> str:
    """Return the SQL condition under which the stamp of a message with this `source` and `topic` is a claim.

    Topics that no declaration names are not judged: the broker lets none of our accounts publish to them.
    """
    filters = {name: publish_filters(each) for each in components().values() for name in each.names}
    filters |= {OPERATOR.name: publish_filters(OPERATOR), replay.SOURCE: [f"{replay.PREFIX}#"]}
    cases = " ".join(f"WHEN {literal(source)} THEN {_matches(each)}" for source, each in filters.items())
    declared = _matches(dict.fromkeys(one for each in filters.values() for one in each))
    return f"({_matches(device_filters())} OR ({declared} AND NOT CASE source {cases} ELSE false END))"


def _matches(filters: Iterable[str]) -> str:
    pattern = "|".join(filter_pattern(each) for each in filters)
    return f"regexp_full_match(topic, {literal(f'(?s)({pattern})')})"
