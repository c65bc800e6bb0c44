"""Values in foreign payloads."""

from typing import Any

import pytest

from adapters.devices.values import ABSENT, Malformed, Rule, read_document

DOCUMENT = {
    "temperature": 21.5,
    "none": None,
    "text": " 3.5 °C ",
    "on": True,
    "list": [{"addr": "b1", "t": 1}, {"addr": "b2", "t": 2}, 7],
    "deep": {"0": "zero", "rack.1": {"t": 4}},
    "huge": 10**400,
}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(path=("temperature",)), 21.5),
        (Rule(path=("list", "1", "t")), 2),
        (Rule(path=("deep", "0")), "zero"),
        (Rule(path=("deep", "rack.1", "t")), 4),
        (Rule(path=("list", "t"), pick=(("addr", "b2"),)), 2),
        (Rule(path=("text",), strip="°C", number=True), 3.5),
        (Rule(path=("temperature",), scale=2, offset=1, low=0, high=44), 44.0),
        (Rule(path=("none",), default=5), 5),
        (Rule(path=("missing",), default="x", map={"x": 1}), 1),
        (Rule(path=("on",), map={"true": "ON"}), "ON"),
        (Rule(path=("list", "0", "t"), map={"1": 9}, scale=2), 18),
    ],
)
def test_reads(rule: Rule, expected: Any) -> None:
    assert rule.read(DOCUMENT) == expected


@pytest.mark.parametrize(
    "rule",
    [
        Rule(path=("missing",)),
        Rule(path=("none",)),
        Rule(path=("none", "below")),
        Rule(path=("list", "9")),
        Rule(path=("temperature", "below")),
        Rule(path=("list", "t"), pick=(("addr", "b3"),)),
    ],
)
def test_absent(rule: Rule) -> None:
    assert rule.read(DOCUMENT) is ABSENT


@pytest.mark.parametrize(
    "rule",
    [
        Rule(path=("text",), scale=1),
        Rule(path=("text",), number=True),
        Rule(path=("on",), offset=1),
        Rule(path=("temperature",), low=30, high=40),
        Rule(path=("temperature",), map={"21": 1}),
        Rule(path=("list",), map={"1": 1}),
        Rule(path=("huge",), scale=1),
        Rule(path=("temperature",), scale=1e308),
    ],
)
def test_malformed(rule: Rule) -> None:
    with pytest.raises(Malformed):
        rule.read(DOCUMENT)


@pytest.mark.parametrize("text", ["NaN", "inf", "1_000", "0x1", "", "1e999", "1" * 500])
def test_text_that_is_no_number(text: str) -> None:
    with pytest.raises(Malformed):
        Rule(number=True).read(text)


def test_payload_is_json_or_else_text() -> None:
    assert read_document(b"21.5", has_path=False) == 21.5
    assert read_document(b"ON", has_path=False) == "ON"
    assert read_document(b'{"a":NaN}', has_path=False) == '{"a":NaN}'


@pytest.mark.parametrize("payload", [b"ON", b'{"a":NaN}', b"", b"\xff"])
def test_no_json_where_a_path_is_given(payload: bytes) -> None:
    with pytest.raises(Malformed):
        read_document(payload, has_path=True)
