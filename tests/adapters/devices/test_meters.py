"""Declared meters, up to the quarters that the normalizer makes of their registers."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from adapters.devices.declarations import read_file
from adapters.devices.mapper import Mapper
from controllers.energy.post import read_post
from controllers.energy.series import Series

TOPIC = "shellypro3em-ab12/status/emdata:0"
METER = f"""
[meter.ship-7]
from     = "{TOPIC}"
ship     = 7
register = "total_act"
unit     = "Wh"
falls    = "reset"
"""
MIDNIGHT = datetime(2026, 12, 1, tzinfo=UTC)


def test_a_declared_register_becomes_quarters() -> None:
    mapper, series = Mapper(), Series()
    mapper.use(read_file("shelly.toml", METER))
    for minute, wh in ((0, 5_000_000), (5, 5_000_500), (10, 0), (15, 5_001_000), (30, 5_002_000), (40, 300), (45, 400)):
        at = MIDNIGHT + timedelta(minutes=minute)
        taken = mapper.take(TOPIC, orjson.dumps({"total_act": wh}), False, at, at)
        assert [each.topic for each in taken.publications] == ["energy/7/raw"]
        post = read_post(taken.publications[0].payload)
        assert (post.ship, post.register, post.falls) == (7, "ship-7", "reset")
        series.add_register(post.register or "", post.readings, post.falls)
    assert series.refresh().quarters.kwh.tolist() == pytest.approx([1, 1, 0.4])


def test_a_declared_power_needs_no_interval() -> None:
    mapper, series = Mapper(), Series()
    mapper.use(read_file("plug.toml", '[meter.plug]\nfrom = "plug/power"\nship = "plug"\nunit = "W"\n'))
    for minute in (0, 5, 10):
        at = MIDNIGHT + timedelta(minutes=minute)
        (publication,) = mapper.take("plug/power", b"2000", False, at, at).publications
        series.post(read_post(publication.payload).readings)
    assert series.quarters.kwh.tolist() == pytest.approx([0.5])
