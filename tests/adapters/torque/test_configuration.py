from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.torque.configuration import TorqueDriver, read_drivers, without_credentials
from adapters.torque.declaration import DRIVER_URL
from adapters.torque.open_protocol.address import OpenProtocolTool, read_tool
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
        ("openprotocol://tool", (TorqueDriver("driver-1", "openprotocol://tool"),)),
        (
            "a=ws://h, b=openprotocol://10.0.0.7:4546?sets=1:10+2:13.5",
            (TorqueDriver("a", "ws://h"), TorqueDriver("b", "openprotocol://10.0.0.7:4546?sets=1:10+2:13.5")),
        ),
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
        ("openprotocol://", 1, "write openprotocol://host or openprotocol://host:port"),
        ("openprotocol://h:port", 1, "host or port cannot be read"),
        ("openprotocol://h/path", 1, "it needs a host and nothing else before the ?"),
        ("a=ws://h,b=openprotocol://u:p@h", 2, "it needs a host and nothing else"),
        ("openprotocol://h?set=1:10", 1, "'set' is not an option, or is there twice: there are sets, revision, loosening"),
        ("openprotocol://h?sets=", 1, "sets is empty: write sets=1:10+2:13.5"),
        ("openprotocol://h?sets=1:ten", 1, "sets: '1:ten' is no parameter set with its torque in N·m: write sets=1:10"),
        ("openprotocol://h?sets=1:10+1:11", 1, "sets: '1:11' is no"),
        ("openprotocol://h?sets=1000:10", 1, "sets: '1000:10' is no"),
        ("openprotocol://h?sets=1:inf", 1, "sets: '1:inf' is no"),
        ("openprotocol://h?revision=11", 1, "revision=11: write a number from 1 to 10"),
        ("openprotocol://h?revision=x", 1, "revision=x: write a number from 1 to 10"),
        ("openprotocol://h?loosening=yes", 1, "loosening=yes: write loosening=assumed, or leave it out"),
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


def test_the_address_of_an_open_protocol_tool() -> None:
    assert read_tool("openprotocol://tool") == OpenProtocolTool("tool", 4545, {}, 10, loosening_assumed=False)
    url = "OpenProtocol://[::1]:1?sets=1:10+12:13.5&revision=2&loosening=assumed"
    assert read_tool(url) == OpenProtocolTool("::1", 1, {1: 10.0, 12: 13.5}, 2, loosening_assumed=True)


@given(st.text())
def test_no_address_of_a_tool_crashes_it(text: str) -> None:
    with suppress(InvalidSetting):
        read_tool(f"openprotocol://{text}")


def test_the_shown_url_has_no_password() -> None:
    assert without_credentials("wss://user:secret@host:1/path@x?q=1") == "wss://host:1/path@x?q=1"


@given(st.text())
def test_no_text_crashes_it(text: str) -> None:
    try:
        drivers = read_drivers(NAME, text)
    except InvalidSetting:
        return
    assert len({each.name for each in drivers}) == len(drivers) >= 1
