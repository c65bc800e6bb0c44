import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.torque.configuration import TorqueDriver, read_drivers, without_credentials
from adapters.torque.declaration import DRIVER_URL
from broker.errors import InvalidSetting

NAME = DRIVER_URL.name


def test_a_single_url_is_driver_1() -> None:
    assert read_drivers(NAME, DRIVER_URL.default) == (TorqueDriver("driver-1", "ws://127.0.0.1:9600"),)


def test_several_drivers_have_names() -> None:
    assert read_drivers(NAME, " left = ws://a:1 , right=wss://b/path ") == (
        TorqueDriver("left", "ws://a:1"),
        TorqueDriver("right", "wss://b/path"),
    )


@pytest.mark.parametrize(
    ("text", "drivers"),
    [
        ("bench=ws://a", (TorqueDriver("bench", "ws://a"),)),
        ("ws://a/?key=value", (TorqueDriver("driver-1", "ws://a/?key=value"),)),
        ("a=ws://h/?key=value,b=ws://h", (TorqueDriver("a", "ws://h/?key=value"), TorqueDriver("b", "ws://h"))),
        ("ws://[::1]:9600", (TorqueDriver("driver-1", "ws://[::1]:9600"),)),
    ],
)
def test_other_accepted_settings(text: str, drivers: tuple[TorqueDriver, ...]) -> None:
    assert read_drivers(NAME, text) == drivers


@pytest.mark.parametrize(
    ("text", "entry", "message"),
    [
        ("", 1, "empty: write ws://host:port"),
        ("a=ws://h,", 2, "empty"),
        ("http://h", 1, "scheme isn't ws or wss: write ws://host:port"),
        ("h:9600", 1, "write ws://host:port"),
        ("a=", 1, "write ws://host:port"),
        ("ws://", 1, "hostname isn't provided"),
        ("ws://h:port", 1, "host or port cannot be read"),
        ("ws://h:99999", 1, "host or port cannot be read"),
        ("ws://[::1", 1, "host or port cannot be read"),
        ("ws://h#part", 1, "fragment"),
        ("ws://a,ws://b", 1, "needs a name: write name=ws://host:port"),
        ("a=ws://h,ws://h", 2, "needs a name"),
        ("a=ws://h,b=ws://h,a=ws://i", 3, "'a' is used twice: give this driver another one"),
        ("=ws://h", 1, "'' cannot be part of a topic: use a name without / + #"),
        ("a/b=ws://h", 1, "'a/b' cannot be part of a topic"),
        ("+=ws://h", 1, "'+' cannot be part of a topic"),
        ("a#=ws://h", 1, "'a#' cannot be part of a topic"),
        ("a\tb=ws://h", 1, "cannot be part of a topic"),
    ],
)
def test_errors_name_variable_entry_and_fix(text: str, entry: int, message: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        read_drivers(NAME, text)
    assert str(error.value).startswith(f"SCAUP_TORQUE_DRIVER_URL, entry {entry} (")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text", ["http://u:secret@h", "a=ws://u:sec/ret@h:x", "ws://u:secret@h:1:2", "ws://secret@h", "ws://u:secret@[h"]
)
def test_errors_do_not_show_passwords(text: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        read_drivers(NAME, text)
    assert "sec" not in str(error.value)


def test_the_shown_url_has_no_password() -> None:
    assert without_credentials("wss://user:secret@host:1/path@x?q=1") == "wss://host:1/path@x?q=1"


@given(st.text())
def test_no_text_crashes_it(text: str) -> None:
    try:
        drivers = read_drivers(NAME, text)
    except InvalidSetting:
        return
    assert len({each.name for each in drivers}) == len(drivers) >= 1
