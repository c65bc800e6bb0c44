"""Components: typed tables. The recorder also lists in `rejected_message` what it could not type itself."""

from broker.contract.components.topics import REJECTED, STATE, Presence
from broker.contract.table import Column, Kind, Need, Table, choice, text

TABLES = (
    Table(
        name="component_state",
        stream=STATE,
        levels={"component": "component"},
        columns=(choice("state", Presence), text("boot"), text("version")),
    ),
    Table(
        name="rejected_message",
        stream=REJECTED,
        levels={"component": "component"},
        columns=(
            text("topic", need=Need.IDENTITY),
            text("reason", need=Need.IDENTITY),
            Column(name="payload", key="payload", kind=Kind.TEXT_PAYLOAD, need=Need.OPTIONAL),
            Column(name="payload_raw", key="payload", kind=Kind.BINARY_PAYLOAD, need=Need.OPTIONAL),
        ),
        known_keys=("encoding", "at", "size", "count"),
    ),
)
