"""Foreign messages of declarations."""

from datetime import UTC, datetime, timedelta

from adapters.devices.declarations import read_file
from adapters.devices.mapper import Mapper

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
SENSOR = '[sensor.a]\nfrom = "x"\nroom = "r"\nvalue = "t"\ntime = "at"\n'


def test_a_clock_that_was_ahead_silences_no_device() -> None:
    mapper = Mapper()
    mapper.use(read_file("f.toml", SENSOR))

    def is_mapped(device_h: float, now_h: float) -> bool:
        at, now_at = (NOW + timedelta(hours=each) for each in (device_h, now_h))
        return bool(mapper.take("x", f'{{"t":20,"at":"{at.isoformat()}"}}'.encode(), False, now_at, now_at).publications)

    assert is_mapped(0, 0)
    assert is_mapped(23, 0.1)
    assert not is_mapped(23, 0.1)
    assert not is_mapped(22, 0.1)  # it may still be ahead
    assert is_mapped(0.2, 0.2)
    assert not is_mapped(0.2, 0.2)
    assert not is_mapped(0.1, 0.3)
    assert is_mapped(0.3, 0.3)
