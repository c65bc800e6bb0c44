"""Log lines as text and as JSON."""

import json
import logging

import pytest

from broker.log import LONGEST_FIELD, JsonFormatter, Log, TextFormatter, masked


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def as_json(lines: pytest.LogCaptureFixture) -> dict[str, object]:
    found: dict[str, object] = json.loads(JsonFormatter("heating").format(lines.records[-1]))
    return found


def test_an_event_is_text_for_people(lines: pytest.LogCaptureFixture) -> None:
    Log("x").warning("room-cold", "room %(room)s has %(celsius).1f °C", room="a", celsius=3.25)
    assert lines.messages == ["room a has 3.2 °C"]


def test_an_event_is_one_json_object_a_line(lines: pytest.LogCaptureFixture) -> None:
    Log("x").warning("room-cold", "room %(room)s\nhas %(celsius).1f °C", room="a", celsius=3.25)
    text = JsonFormatter("heating").format(lines.records[-1])
    assert "\n" not in text
    found = json.loads(text)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "warning",
        "component": "heating",
        "event": "room-cold",
        "fields": {"room": "a", "celsius": 3.25},
        "message": "room a\nhas 3.2 °C",
    }


def test_what_a_device_wrote_cannot_begin_another_line(lines: pytest.LogCaptureFixture) -> None:
    Log("x").warning("message-rejected", "rejected %(topic)s:\n%(error)s", topic="a\nb\x1b[31m\u2028", error=ValueError("c\nd"))
    assert TextFormatter("%(message)s").format(lines.records[-1]) == "rejected a\\x0ab\\x1b[31m\\x2028:\nc\nd"
    assert as_json(lines)["fields"] == {"topic": "a\nb\x1b[31m\u2028", "error": "c\nd"}


def test_a_text_without_fields_may_have_a_percent_sign(lines: pytest.LogCaptureFixture) -> None:
    Log("x").info("done", "100 % done")
    assert lines.messages == ["100 % done"]
    assert as_json(lines)["fields"] == {}


def test_a_field_may_be_anything_and_is_bounded(lines: pytest.LogCaptureFixture) -> None:
    Log("x").error("odd", "%(error)s", error=ValueError("x" * 10 * LONGEST_FIELD))
    fields = as_json(lines)["fields"]
    assert isinstance(fields, dict)
    assert len(fields["error"]) == LONGEST_FIELD + 1


def test_a_line_of_a_library_has_no_name(lines: pytest.LogCaptureFixture) -> None:
    logging.getLogger("library").warning("%s of %d", "one", 2)
    found = as_json(lines)
    assert (found["event"], found["message"], found["fields"]) == ("log", "one of 2", {})


def test_an_exception_comes_with_its_traceback(lines: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("hush ws://driver:secret@host/")
    except ValueError:
        Log("x").exception("failed", "it failed")
    assert "ValueError: hush ws://driver:…@host/" in str(as_json(lines)["traceback"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ws://driver:secret@10.0.0.1:80/x", "ws://driver:…@10.0.0.1:80/x"),
        ("ws://:secret@h and mqtt://u:p@h", "ws://:…@h and mqtt://u:…@h"),
        ("ws://10.0.0.1:80/a@b", "ws://10.0.0.1:80/a@b"),
        ("mail me@example", "mail me@example"),
    ],
)
def test_passwords_of_addresses_are_left_out(text: str, shown: str) -> None:
    assert masked(text) == shown
