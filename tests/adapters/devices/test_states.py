"""The retained state of each declaration."""

from datetime import UTC, datetime

from adapters.devices.catalog import Catalog
from adapters.devices.states import States
from broker.message import decode_json

SENSOR = '[sensor.a]\nfrom = "x/y"\nroom = "r"\n'


def test_shows_that_another_file_has_the_same_name() -> None:
    catalog, states = Catalog(), States()
    catalog.update({"a.toml": SENSOR, "b.toml": SENSOR})
    states.load(catalog, datetime(2026, 12, 1, tzinfo=UTC))
    (published,) = states.publications(catalog, {}, [])
    state = decode_json(published.payload)
    assert (state["file"], state["active"]) == ("a.toml", True)
    assert state["error"] == "b.toml:1: sensor.a: declared twice, also in a.toml:1"
