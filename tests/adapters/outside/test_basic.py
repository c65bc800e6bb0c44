"""Reading `Authorization`: the vectors of RFC 7617, and what is refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.outside.basic import LONGEST, NoLogin, credentials


def basic(text: bytes) -> str:
    return f"Basic {base64.b64encode(text).decode()}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", ("Aladdin", "open sesame")),  # section 2
        ("Basic dGVzdDoxMjPCow==", ("test", "123£")),  # section 2.1
        ("bASIC QWxhZGRpbjpvcGVuIHNlc2FtZQ==", ("Aladdin", "open sesame")),  # the scheme's case does not matter: RFC 9110
        (basic(b"a:b:c"), ("a", "b:c")),
        (basic(b"a:"), ("a", "")),
    ],
)
def test_name_and_password_are_read(value: str, expected: tuple[str, str]) -> None:
    assert credentials([value]) == expected


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["Basic QTpC", "Basic QTpC"],
        ["Bearer QTpC"],
        ["Basic"],
        ["Basic  "],
        ["Basic Q*Q="],
        ["Basic QTp"],
        [basic(b"no colon")],
        [basic(b":password")],
        [basic(b"\xff:x")],
        [basic(b"a\nb:c")],
        [basic(b"a:c\x00")],
        [basic(b"a" * LONGEST + b":b")],
    ],
)
def test_other_values_are_no_login(values: list[str]) -> None:
    with pytest.raises(NoLogin):
        credentials(values)


@given(st.lists(st.text() | st.binary().map(basic), max_size=2))
def test_no_value_breaks_the_reader(values: list[str]) -> None:
    try:
        name, _ = credentials(values)
    except NoLogin:
        return
    assert name
