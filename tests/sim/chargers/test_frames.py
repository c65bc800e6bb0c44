import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.chargers.connection import CHARGER, WIDGET, Endpoint
from sim.chargers.frames import Fault, soc_frame, soc_frames, status_of


def sent(soc: int, *faults: Fault, share: float = 1.0, seed: int = 1) -> list[str | None]:
    return soc_frames(soc, dict.fromkeys(faults, share), random.Random(seed))


def test_frame_matches_the_protocol_exactly() -> None:
    assert soc_frame(70) == '{"event":"StateOfCharge","data":{"soc":70}}'
    assert sent(70) == [soc_frame(70)]


def test_faults_come_before_the_frame() -> None:
    garbage, text, falling, last = sent(70, Fault.GARBAGE, Fault.TEXT, Fault.FALLING)
    assert garbage is not None
    with pytest.raises(ValueError, match=r"."):
        json.loads(garbage)
    assert text == '{"event":"StateOfCharge","data":{"soc":"70"}}'
    assert falling is not None
    assert 0 <= json.loads(falling)["data"]["soc"] <= 35
    assert last == soc_frame(70)


def test_disconnect_replaces_the_frame() -> None:
    assert sent(70, Fault.DISCONNECT) == [None]


@given(st.integers(0, 100), st.integers(0, 1000))
def test_garbage_is_never_json_and_never_empty(soc: int, seed: int) -> None:
    garbage, _ = sent(soc, Fault.GARBAGE, seed=seed)
    assert garbage
    with pytest.raises(ValueError, match=r"."):
        json.loads(garbage)


def test_a_fault_occurs_with_its_share() -> None:
    rng = random.Random(1)
    found = [len(soc_frames(50, {Fault.TEXT: 0.3}, rng)) == 2 for _ in range(2000)]
    assert sum(found) / 2000 == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("status", ["charging", "charging80", "charged", "unavailable"])
def test_status_of_a_charging_status_frame(status: str) -> None:
    assert status_of(f'{{"event":"chargingStatus","data":{{"status":"{status}"}}}}') == status


@pytest.mark.parametrize(
    "frame",
    [
        *("", "x", b"\xff", "[]", "null", "{}", '{"event":"chargingStatus"}'),
        '{"event":"chargingStatus","data":{"status":1}}',
        '{"event":"chargingstatus","data":{"status":"charged"}}',
        '{"event":"StateOfCharge","data":{"status":"charged"}}',
    ],
)
def test_other_frames_have_no_status(frame: str | bytes) -> None:
    assert status_of(frame) is None


@pytest.mark.parametrize(
    ("endpoint", "client", "url"),
    [
        (Endpoint(CHARGER, "127.0.0.1", 3100), "c1234", "ws://127.0.0.1:3100/chargers/c1234"),
        (Endpoint(WIDGET, "::1", 3200), "wABCD", "ws://[::1]:3200/widgets/wABCD"),
        (Endpoint(CHARGER, "hall", 80), "a/b c", "ws://hall:80/chargers/a%2Fb%20c"),
    ],
)
def test_url_of_a_client(endpoint: Endpoint, client: str, url: str) -> None:
    assert endpoint.url(client) == url
