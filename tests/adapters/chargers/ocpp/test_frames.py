import pytest

from adapters.chargers.ocpp import frames
from adapters.chargers.ocpp.frames import Call, Failure, Result, Unusable


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        (b'[2,"a","Heartbeat",{}]', Call("a", "Heartbeat", {})),
        (b'[2,5,"Heartbeat",{},"more"]', Call(5, "Heartbeat", {})),
        (b'[3,"a",{"status":"Accepted"}]', Result("a", {"status": "Accepted"})),
        (b'[3,"a"]', Result("a", {})),
        (b'[4,"a","NotImplemented","never",{}]', Failure("a", "NotImplemented: never")),
        (b'[4,"a"]', Failure("a", "the charger gave no reason")),
    ],
)
def test_frames_are_read(payload: bytes, wanted: object) -> None:
    assert frames.read(payload) == wanted


@pytest.mark.parametrize(
    "payload",
    [b"", b"garbage", b"\xff", b"{}", b"[]", b"[2]", b'[5,"a"]', b'[true,"a"]', b"[2,null]", b"[2,true]", b"NaN", b"[" * 9000],
)
def test_frames_without_an_id_cannot_be_answered(payload: bytes) -> None:
    with pytest.raises(Unusable) as refused:
        frames.read(payload)
    assert refused.value.unique_id is None
    assert str(refused.value)


@pytest.mark.parametrize("payload", [b'[2,"a"]', b'[2,"a",7,{}]', b'[2,"a","Heartbeat"]', b'[2,"a","Heartbeat",[]]'])
def test_calls_with_an_id_can_be_answered(payload: bytes) -> None:
    with pytest.raises(Unusable) as refused:
        frames.read(payload)
    assert refused.value.unique_id == "a"


def test_frames_are_written() -> None:
    assert frames.result("a", {"currentTime": "t"}) == b'[3,"a",{"currentTime":"t"}]'
    assert frames.call("a", "Reset", {"type": "Soft"}) == b'[2,"a","Reset",{"type":"Soft"}]'
    assert frames.error(5, "FormatViolation", "x" * 300) == b'[4,5,"FormatViolation","%s",{}]' % (b"x" * 255)
