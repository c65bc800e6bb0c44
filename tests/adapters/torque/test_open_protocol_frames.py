from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.torque.open_protocol.frames import Frame, FrameReader, MalformedFrame
from adapters.torque.open_protocol.parameter_sets import NoSet, ParameterSet, choose, parameter_set, set_numbers
from adapters.torque.open_protocol.results import _WIDTHS, HIGHEST_REVISION, Kind, read_result
from tests.adapters.torque.tool_model import Done

# Examples of the specification R 2.16.0, word for word.
START = b"00200001003         \0"
REFUSED = b"00260004            001802\0"
PSETS = b"00290011            002001002\0"
PSET = (
    b"01040013            0100102Airbag1                  0310403050012000600150007001400080036009007201000480\0"
)  # fmt: skip
LAST_RESULT = (
    b"023100610010        010001020103airbag7                  04KPOL3456JKLO897          050006003070000"
    b"080000090100111120008401300140014001200150007391600000170999918000001900000202001-06-02:09:54:09"
    b"212001-05-29:12:34:3322123345675    \0"
)


def frames(data: bytes) -> list[Frame]:
    reader = FrameReader()
    reader.feed(data)
    return list(iter(reader.next_frame, None))


def test_a_frame_is_written_as_in_the_specification() -> None:
    assert Frame(1, 3).encode() == START
    assert Frame(12, data="001").encode() == b"00230012001         001\0"


def test_blank_and_zero_revisions_are_revision_1() -> None:
    assert [each.revision for each in frames(REFUSED + b"00200005000         \0")] == [1, 1]


@given(st.lists(st.integers(1, 40), max_size=20))
def test_frames_arrive_in_any_pieces(cuts: list[int]) -> None:
    stream = START + REFUSED + LAST_RESULT.rstrip(b"\0") + PSETS
    reader, found, start = FrameReader(), [], 0
    for cut in [*cuts, len(stream)]:
        reader.feed(stream[start : start + cut])
        start += cut
        found += list(iter(reader.next_frame, None))
    assert found == frames(stream)
    assert [each.mid for each in found] == [1, 4, 61, 11]


@given(st.binary())
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    with suppress(MalformedFrame):
        frames(data)


@pytest.mark.parametrize("data", [b"HTTP/1.1 400", b"0019", b"00190001001         \0", b"0020x001001         \0", b"\xff"])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    if data == b"0019":
        assert frames(data) == []
        return
    with pytest.raises(MalformedFrame):
        frames(data)


def test_the_specification_s_result_is_read() -> None:
    (frame,) = frames(LAST_RESULT)
    assert len(frame.text) == 231
    result = read_result(frame)
    assert (result.id, result.at, result.set, result.ok) == (345675, "2001-06-02:09:54:09", 3, False)
    assert (result.torque_nm, result.target_nm, result.angle) == (7.39, 12.0, 0)
    assert (result.torque_status, result.angle_status, result.vin) == ("low", "ok", "KPOL3456JKLO897")
    assert result.kind is Kind.TIGHTENING


@pytest.mark.parametrize("revision", [1, 2, 3, 4])
def test_a_pushed_result_is_read_in_each_revision(revision: int) -> None:
    result = read_result(frames(Done(id=7, hundredths=1012, set=2, target=1300, kind=2).pushed(revision))[0])
    assert (result.id, result.torque_nm, result.target_nm, result.set) == (7, 10.12, 13.0, 2)
    assert result.kind is (Kind.LOOSENING if revision >= 3 else Kind.TIGHTENING)


@pytest.mark.parametrize("revision", [1, 2, 3])
def test_a_fetched_result_has_the_pushed_one_s_key(revision: int) -> None:
    done = Done(id=7, hundredths=1012, set=2)
    fetched, pushed = (read_result(frames(each)[0]) for each in (done.fetched(revision), done.pushed(3)))
    assert fetched.key == pushed.key
    assert (fetched.torque_nm, fetched.target_nm, fetched.set, fetched.ok) == (10.12, None, 2, True)


@pytest.mark.parametrize(
    ("mid", "lengths"),
    [
        (61, {1: 231, 2: 385, 3: 419, 4: 500, 5: 506, 6: 526, 7: 544, 8: 571, 9: 592, 10: 662}),
        (65, {1: 118, 2: 226, 3: 233, 4: 314, 5: 320, 6: 340, 7: 379, 8: 406, 9: 427, 10: 497}),
    ],
)
def test_each_revision_ends_at_the_specified_byte(mid: int, lengths: dict[int, int]) -> None:
    for revision in range(1, HIGHEST_REVISION + 1):
        parts = _WIDTHS[mid][:1] if revision == 1 else _WIDTHS[mid][1:revision]
        assert 20 + sum(2 + width for part in parts for width in part) == lengths[revision]


@pytest.mark.parametrize(("unit", "torque_nm"), [(1, 10.0), (2, 13.5582), (3, 1.1298), (5, 0.9807), (8, 0.1)])
def test_torque_is_converted_from_the_tool_s_unit(unit: int, torque_nm: float) -> None:
    assert read_result(frames(Done(id=1, hundredths=1000, unit=unit).pushed(3))[0]).torque_nm == torque_nm


def test_a_torque_in_percent_is_none() -> None:
    with pytest.raises(MalformedFrame, match="unit 7, which is no torque"):
        read_result(frames(Done(id=1, hundredths=1000, unit=7).pushed(3))[0])


@given(
    st.sampled_from([61, 65]), st.integers(1, 999), st.integers(0, 700), st.text(st.characters(max_codepoint=255), max_size=8)
)
def test_no_data_crash_the_results(mid: int, revision: int, cut: int, inserted: str) -> None:
    data = frames(Done(id=1, hundredths=1).pushed(4) if mid == 61 else Done(id=1, hundredths=1).fetched(3))[0].data
    with suppress(MalformedFrame):
        read_result(Frame(mid, revision, data[:cut] + inserted + data[cut + len(inserted) :]))


def test_parameter_sets_are_read() -> None:
    assert set_numbers(frames(PSETS)[0]) == (1, 2)
    assert parameter_set(frames(PSET)[0]) == ParameterSet(1, "Airbag1", 1400)


LEARNED = {1: ParameterSet(1, "", 1000), 2: ParameterSet(2, "", 1234), 4: ParameterSet(4, "", 500), 5: ParameterSet(5, "", 500)}


@pytest.mark.parametrize(("torque_nm", "chosen"), [(10, 1), (10.0, 1), (12.34, 2), (12.345, 2), (12.349, 2)])
def test_the_set_with_the_target_is_chosen(torque_nm: float, chosen: int) -> None:
    assert choose(torque_nm, {}, LEARNED) == chosen


def test_given_sets_come_first() -> None:
    assert choose(10, {9: 10.0}, LEARNED) == 9
    assert choose(5, {5: 5.0}, LEARNED) == 5


@pytest.mark.parametrize(
    ("torque_nm", "reason"),
    [(11, "no parameter set .* 11 N·m .*1: 10, 2: 12.34"), (5, r"4, 5 all .* \?sets=4:5"), (0, "no tool"), (1e308, "no tool")],
)
def test_a_torque_without_one_set_names_the_fix(torque_nm: float, reason: str) -> None:
    with pytest.raises(NoSet, match=reason):
        choose(torque_nm, {}, LEARNED)
