import pytest

from adapters.chargers.clients import LARGEST_SOC_BYTES, check_soc
from adapters.chargers.websocket import Incoming
from broker.errors import Rejected
from tests.adapters.chargers.wire import SOC, soc


@pytest.mark.parametrize("value", ["0", "100", "70", "70.5", "-0.0", "0.0", "99.99999999999999", "1e2", "1E-999", "7e1"])
def test_valid_values_are_accepted(value: str) -> None:
    check_soc(Incoming(soc(value), text=True))


@pytest.mark.parametrize(
    "payload",
    [
        b' \r\n\t{ "data" : { "soc" : 70 } , "event" : "StateOfCharge" } \n',
        b'{"event":"StateOfCharge","data":{"soc":70,"voltage":"400"},"more":[null]}',
        b'{"event":"StateOf\\u0043harge","data":{"soc":70}}',
        SOC + b" " * (LARGEST_SOC_BYTES - len(SOC)),
    ],
)
def test_valid_json_in_any_notation_is_accepted(payload: bytes) -> None:
    check_soc(Incoming(payload, text=True))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('"70"', "data.soc"),
        ("true", "data.soc"),
        ("false", "data.soc"),
        ("null", "data.soc"),
        ("[70]", "data.soc"),
        ("{}", "data.soc"),
        ("-1", "data.soc"),
        ("-1e-9", "data.soc"),
        ("100.5", "data.soc"),
        ("100.00000000000001", "data.soc"),
        ("NaN", "not JSON"),
        ("Infinity", "not JSON"),
        ("1e999", "not JSON"),
        ("-1e999", "not JSON"),
        ("1" * 400, "not JSON"),
        ("070", "not JSON"),
        ("70,", "not JSON"),
        ("", "not JSON"),
    ],
)
def test_invalid_states_of_charge_are_refused(value: str, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        check_soc(Incoming(soc(value), text=True))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty payload"),
        (b"70", "wrong shape"),
        (b"null", "wrong shape"),
        (b"[]", "wrong shape"),
        (b"hello", "not JSON"),
        (SOC[:-1], "not JSON"),
        (SOC + SOC, "not JSON"),
        (b'{"event":"StateOfCharge","data":{"soc":70},"x":"\xff"}', "not JSON"),
        (b"[" * 20_000, "not JSON"),
        (b'{"event":"StateOfCharge"}', "data"),
        (b'{"event":"StateOfCharge","data":{}}', "soc"),
        (b'{"event":"StateOfCharge","data":null}', "data"),
        (b'{"event":"StateOfCharge","data":[70]}', "data"),
        (b'{"event":"StateOfCharge","soc":70}', "data"),
        (b'{"data":{"soc":70}}', "event"),
        (b'{"event":"stateOfCharge","data":{"soc":70}}', "event"),
        (b'{"event":"chargingStatus","data":{"status":"charging"}}', "event"),
        (b'{"event":1,"data":{"soc":70}}', "event"),
        (SOC + b" " * (LARGEST_SOC_BYTES + 1 - len(SOC)), "a frame of 65537 bytes: 65536 are accepted"),
    ],
)
def test_other_messages_are_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        check_soc(Incoming(payload, text=True))


def test_binary_frames_are_refused() -> None:
    with pytest.raises(Rejected, match="a binary frame"):
        check_soc(Incoming(SOC, text=False))


@pytest.mark.parametrize(
    "payload",
    [
        b'{"event":"StateOfCharge","data":{"soc":85,"soc":2}}',
        b'{"event":"x","event":"StateOfCharge","data":{"soc":90}}',
        b'{"event":"StateOfCharge","data":{"soc":85},"data":{"soc":2}}',
        b'{"event":"StateOfCharge","data":{"soc":85,"so\\u0063":2}}',
    ],
)
def test_duplicate_names_are_refused(payload: bytes) -> None:
    with pytest.raises(Rejected, match="occurs twice"):
        check_soc(Incoming(payload, text=True))


def test_too_deep_nesting_is_refused() -> None:
    deep = b"[" * 1_000 + b"]" * 1_000
    with pytest.raises(Rejected):
        check_soc(Incoming(b'{"event":"StateOfCharge","data":{"soc":70},"x":' + deep + b',"y":1}', text=True))
