"""Frames as clients might send them, and mutations of them."""

from collections.abc import Iterator

from hypothesis import strategies as st

from tests.adapters.chargers.wire import BINARY, CLOSE, CONT, PING, PONG, SOC, TEXT, close, frame

SOME = [b"", b"a", SOC, b"\xff", b"x" * 125, b"y" * 126, b"z" * 70_000]

frames = st.one_of(
    st.builds(
        lambda opcode, payload, fin: frame(opcode, payload, fin=fin),
        st.sampled_from([TEXT, BINARY, CONT, PING, PONG]),
        st.sampled_from(SOME),
        st.booleans(),
    ),
    st.sampled_from([frame(TEXT, SOC), frame(CLOSE), close(1000, b"bye"), frame(TEXT, b"a", fin=False) + frame(CONT, b"b")]),
    st.builds(
        lambda opcode, payload, fin, rsv, mask: frame(opcode, payload, fin=fin, rsv=rsv, mask=mask),
        st.integers(0, 15),
        st.binary(max_size=200),
        st.booleans(),
        st.integers(0, 7),
        st.none() | st.binary(min_size=4, max_size=4),
    ),
)
streams = st.lists(frames, max_size=8).map(b"".join)


@st.composite
def mutated(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> bytes:
    """Valid bytes with some changed, removed, inserted and repeated."""
    data = bytearray(draw(source))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 8)))
        data[start:stop] = draw(st.binary(max_size=8) | st.just(bytes(data[start:stop]) * 2))
    return bytes(data)


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    ends = sorted({min(each, len(data)) for each in cuts} | {len(data)})
    for start, end in zip([0, *ends], ends, strict=False):
        yield data[start:end]


cuts = st.lists(st.integers(0, 2_000), max_size=30)
