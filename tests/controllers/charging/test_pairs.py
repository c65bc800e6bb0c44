import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.contract.charging.topics import STATE
from broker.errors import BusError
from controllers.charging.pairs import InvalidPairs, id_error, read_pairs

MANY = 100_000


@pytest.mark.parametrize(
    "content",
    [
        b'{"c1234":"wABCD"}',
        b'\xef\xbb\xbf{"c1234":"wABCD"}',
        b' {\n "c1234" : "wABCD" }\n',
        b'{"c\\u0031234":"wABCD"}',
    ],
)
def test_pairs_are_read(content: bytes) -> None:
    assert read_pairs(content).pairs == {"c1234": "wABCD"}


def test_ids_are_exact() -> None:
    pairs = {"c1": "w1", "C1": "W1", " c1": "w 1", 'wär"me\\': "ß€", "x" * 256: "y" * 256, "w1": "c1", "\u200b": "\u3000"}
    assert read_pairs(orjson.dumps(pairs)).pairs == pairs


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "empty payload"),
        (b"{}", "it has no pairs"),
        (b'{"c1":', "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"c1":"\\ud800"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"c1":' * 1000 + b"1" + b"}" * 1000, "charger 'c1'"),
        (b'["c1"]', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"c1":1}', "charger 'c1': its widget must be a text"),
        (b'{"c1":null,"c2":"w2"}', "charger 'c1': its widget must be a text"),
        (b'{"c1":["w1"]}', "its widget must be a text"),
        (b'{"c1":{"a":"b","a":"b"}}', "its widget must be a text"),
        (b'{"":"w1"}', "charger '': an id must have at least one character"),
        (b'{"c1":""}', "widget '': an id must have at least one character"),
        (b'{"c/1":"w1"}', "charger 'c/1': an id becomes part of a topic"),
        (b'{"c1":"w+"}', "widget 'w+': an id becomes part of a topic"),
        (b'{"c#":"w1"}', "charger 'c#'"),
        (b'{"c1":"w\\n1"}', "widget 'w\\n1'"),
        (b'{"c1":"w\\u00001"}', "widget 'w\\x001'"),
        ('{"c1":"w\ufffe"}'.encode(), "widget 'w\\ufffe'"),
        (orjson.dumps({"c" * 257: "w1"}), "at most 256 characters, not 257"),
        (b'{"c1":"w1","c2":"w1"}', "widget 'w1' is assigned to 'c1', 'c2': keep one of these pairs"),
        (b'{"c1":"w1","c1":"w2"}', "charger 'c1' has 2 entries: keep one"),
        (b'{"c1":"w1","c\\u0031":"w2"}', "charger 'c1' has 2 entries"),
        (b'{"c1":"w1","c1":"w1"}', "charger 'c1' has 2 entries"),
        (b'{"c1":1,"c1":2}', "charger 'c1'"),
        (b'{"c1":' + b"[" * 1000 + b"]" * 1000 + b',"c1":"w1"}', "nested too deeply"),
    ],
)
def test_an_error_names_the_entry(content: bytes, text: str) -> None:
    with pytest.raises(InvalidPairs) as error:
        read_pairs(content)
    assert text in str(error.value)
    assert isinstance(error.value, BusError)


def test_an_error_lists_mistakes_up_to_a_limit() -> None:
    with pytest.raises(InvalidPairs) as error:
        read_pairs(orjson.dumps({f"c/{n}": f"w{n}" for n in range(25)}))
    assert "'c/0'" in str(error.value)
    assert "'c/19'" in str(error.value)
    assert "and 5 more" in str(error.value)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=5))
def test_an_accepted_id_can_be_a_topic_level(pairs: dict[str, str]) -> None:
    good = all(id_error(each) is None for pair in pairs.items() for each in pair) and len({*pairs.values()}) == len(pairs)
    try:
        content = orjson.dumps(pairs)
    except TypeError:
        return  # a lone surrogate
    if good and pairs:
        assert read_pairs(content).pairs == pairs
        assert all(STATE.template.topic(id=each) for pair in pairs.items() for each in pair)
    else:
        with pytest.raises(InvalidPairs):
            read_pairs(content)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_read_or_invalid(content: bytes) -> None:
    with contextlib.suppress(InvalidPairs):
        read_pairs(content)


def test_many_pairs_are_read() -> None:
    content = orjson.dumps({f"c{n}": f"w{n}" for n in range(MANY)})
    assert len(read_pairs(content).pairs) == MANY
