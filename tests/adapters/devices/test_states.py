"""The retained state of each declaration."""

from datetime import UTC, datetime

from adapters.devices.catalog import Catalog
from adapters.devices.mapper import Counts
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


def test_new_declarations_show_within_two_ticks() -> None:
    catalog, states = Catalog(), States()
    catalog.update({"a.toml": "".join(SENSOR.replace(".a]", f".a{each}]") for each in range(1_000))})
    states.load(catalog, datetime(2026, 12, 1, tzinfo=UTC))
    assert [len(states.publications(catalog, {}, [])) for _ in range(3)] == [500, 500, 0]
    counts = {name: Counts(mapped=1) for name in catalog.declared}
    assert len(states.publications(catalog, counts, counts)) == 20
