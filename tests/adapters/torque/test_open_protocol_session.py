"""The session against a tool that writes the wire format itself, both without sockets."""

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.torque.open_protocol.address import OpenProtocolTool
from adapters.torque.open_protocol.ledger import Ledger
from adapters.torque.open_protocol.results import result_key
from adapters.torque.open_protocol.session import Action, Lost, Publish, Ready, Send, Session
from broker.contract.fastening.topics import Direction, Setting, TorqueCommand
from tests.adapters.torque.tool_model import Done, ToolModel, message

RESET, STATUS = TorqueCommand("reset"), TorqueCommand("status")
REVERSE = TorqueCommand("setTorque", Setting(Direction.REVERSE))


def forward(torque_nm: float) -> TorqueCommand:
    return TorqueCommand("setTorque", Setting(Direction.FORWARD, torque_nm))


class Wire:
    """Carries bytes between a session and a tool, and commits every event at once unless `commits` is off."""

    def __init__(self, tool: ToolModel, address: OpenProtocolTool | None = None, ledger: Ledger | None = None) -> None:
        self.tool, self.ledger = tool, Ledger() if ledger is None else ledger
        self.address = address or OpenProtocolTool("h")
        self.commits = True
        self.now_s = 0.0
        self.events: list[dict[str, Any]] = []
        self.marks: list[bytes | None] = []
        self.keys: list[str] = []
        self.lost: list[str] = []
        self.ready = 0
        self.connect()

    def connect(self) -> None:
        self.tool.connect()
        self.session = Session(self.address, self.ledger)
        self.do(self.session.begin(self.now_s))

    def do(self, actions: list[Action]) -> None:
        waiting = deque(actions)
        while waiting:
            each = waiting.popleft()
            if isinstance(each, Send):
                if answer := self.tool.receive(each.data):
                    waiting += self.session.receive(answer, self.now_s)
            elif isinstance(each, Publish):
                self.events.append(msgspec.json.decode(each.payload))
                self.marks.append(each.mark)
                self.keys += [] if each.key is None else [each.key]
                if each.key is not None and self.commits:
                    waiting += self.session.recorded(each.key, self.now_s)
            elif isinstance(each, Ready):
                self.ready += 1
            elif isinstance(each, Lost):
                self.lost.append(each.reason)

    def command(self, command: TorqueCommand, mark: bytes | None = b"m") -> None:
        self.do(self.session.command(command, mark, self.now_s))

    def tool_sends(self, data: bytes) -> None:
        self.do(self.session.receive(data, self.now_s))

    def commit(self) -> None:
        self.commits = True
        for each in self.keys:
            self.do(self.session.recorded(each, self.now_s))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each["data"] for each in self.events if each["type"] == kind]

    @property
    def ids(self) -> list[int]:
        return [each["tighteningId"] for each in self.of("operation")]


def torques(wire: Wire) -> list[tuple[float, float]]:
    return [(each["currentValue"], each["configuredValue"]) for each in wire.of("operation")]


def test_a_step_is_set_fastened_recorded_acknowledged() -> None:
    wire = Wire(ToolModel())
    assert (wire.ready, wire.lost) == (1, [])
    wire.command(forward(13.0), b"job/1")
    assert (wire.tool.selected, wire.tool.enabled) == (2, True)
    wire.tool_sends(wire.tool.fasten(1315))
    assert torques(wire) == [(13.15, 13.0)]
    assert wire.marks[-1] == b"job/1"
    assert wire.of("operation")[0]["frame"].startswith("04190061003 ")
    assert wire.tool.acknowledged == [1]


def test_a_result_is_acknowledged_only_when_it_is_recorded() -> None:
    wire = Wire(ToolModel())
    wire.commits = False
    wire.tool_sends(wire.tool.fasten(1000))
    wire.tool_sends(wire.tool.again())
    assert (wire.ids, wire.tool.acknowledged) == ([1], [])
    wire.commit()
    assert (wire.ids, wire.tool.acknowledged) == ([1], [1])
    wire.tool_sends(Done(id=1, hundredths=1000).pushed(3))  # the acknowledgement was lost
    assert (wire.ids, wire.tool.of(62)) == ([1], [(1, "")] * 2)


@pytest.mark.parametrize(("highest", "started", "subscribed"), [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)])
def test_the_highest_common_revision_is_found(highest: int, started: int, subscribed: int) -> None:
    wire = Wire(ToolModel(highest={1: highest, 60: highest, 64: min(highest, 3)}))
    assert [revision for revision, _ in wire.tool.of(1)] == list(range(5, started - 1, -1))
    assert [revision for revision, _ in wire.tool.of(60)] == list(range(10, subscribed - 1, -1))
    assert wire.of("status")[0]["revision"] == subscribed
    wire.tool_sends(wire.tool.fasten(1000))
    assert torques(wire) == [(10.0, 10.0)]


def test_any_error_for_a_revision_leads_to_a_lower_one() -> None:
    wire = Wire(ToolModel(too_new=98))
    assert (wire.of("status")[0]["revision"], wire.of("status")[0]["fetchRevision"]) == (3, 3)


def test_the_address_bounds_the_revision() -> None:
    wire = Wire(ToolModel(), OpenProtocolTool("h", revision=1))
    assert [each[0] for each in wire.tool.of(60) + wire.tool.of(64) + wire.tool.of(1)] == [1, 1, 1]


def test_an_earlier_subscription_is_replaced() -> None:
    tool = ToolModel()
    wire = Wire(tool)
    tool.requests.clear()
    wire.session = Session(wire.address, wire.ledger)  # the tool has not noticed that the connection is another
    wire.do(wire.session.begin(0.0))
    assert (len(tool.of(63)), tool.revision, wire.ready) == (1, 3, 2)


def test_loosening_is_a_reverse() -> None:
    wire = Wire(ToolModel())
    wire.command(REVERSE, b"job/1/reverse")
    assert wire.of("operation") == []
    wire.tool_sends(wire.tool.loosen())
    (done,) = wire.of("operation")
    assert (done["direction"], done["currentValue"], done["configuredValue"]) == ("reverse", 0, 0)
    assert wire.marks[-1] == b"job/1/reverse"


def test_a_tool_that_reports_no_loosening_says_so() -> None:
    wire = Wire(ToolModel(highest={1: 1, 60: 2, 64: 2}))
    wire.command(REVERSE)
    assert "add ?loosening=assumed" in wire.of("error")[0]["reason"]
    assert wire.of("operation") == []


def test_loosening_is_assumed_where_the_address_says_so() -> None:
    wire = Wire(ToolModel(highest={1: 1, 60: 1, 64: 1}), OpenProtocolTool("h", loosening_assumed=True))
    wire.command(REVERSE, b"r")
    assert wire.of("operation") == [{"direction": "reverse", "configuredValue": 0, "currentValue": 0, "assumed": True}]
    assert wire.marks[-1] == b"r"


def test_other_results_are_published_but_are_no_operation() -> None:
    wire = Wire(ToolModel())
    wire.tool_sends(wire.tool.fasten(0, kind=3))
    assert wire.of("operation") == []
    assert [each["resultType"] for each in wire.of("result")] == [3]
    assert wire.tool.acknowledged == [1]


def test_a_synchronous_tightening_is_an_operation() -> None:
    wire = Wire(ToolModel())
    wire.tool_sends(wire.tool.fasten(1000, kind=7))
    assert torques(wire) == [(10.0, 10.0)]


def test_a_tool_that_sends_another_result_than_asked_for() -> None:
    wire = Wire(ToolModel(), ledger=Ledger(last_id=1))
    wire.tool.deaf = True
    wire.tool_sends(Done(id=3, hundredths=1000).pushed(3))
    wire.tool_sends(Done(id=9, hundredths=1000).fetched(3))
    assert (wire.ids, wire.of("gap")[0]["tighteningIds"]) == ([3], [[2, 2]])


def test_a_reset_disables_the_tool() -> None:
    wire = Wire(ToolModel())
    wire.command(RESET)
    assert not wire.tool.enabled
    wire.command(forward(10))
    assert wire.tool.enabled


def test_a_tool_without_a_lock_works_too() -> None:
    wire = Wire(ToolModel(unknown=frozenset({42, 43})))
    wire.command(RESET)
    wire.command(forward(10), b"1")
    wire.tool_sends(wire.tool.fasten(1000))
    assert (torques(wire), wire.marks[-1], wire.of("error")) == ([(10.0, 10)], b"1", [])


@pytest.mark.parametrize(
    ("refusals", "reason"),
    [({18: 3}, "select parameter set 1: error 03, the parameter set cannot be"), ({43: 29}, "enable the tool: error 29")],
)
def test_a_refused_command_is_reported(refusals: dict[int, int], reason: str) -> None:
    wire = Wire(ToolModel(refusals=refusals))
    wire.command(forward(10), b"1")
    assert reason in wire.of("error")[0]["reason"]
    assert wire.marks[-1] == b"1"


def test_a_torque_without_a_set_is_an_error_until_there_is_one() -> None:
    wire = Wire(ToolModel())
    wire.command(forward(99))
    assert wire.of("error")[0]["reason"].startswith("no parameter set of the tool has the target 99 N·m")
    assert wire.tool.of(18) == []
    wire.tool.sets[9] = 9900
    wire.command(forward(99))
    assert (wire.tool.selected, len(wire.of("error"))) == (9, 1)


def test_a_tool_that_does_not_list_its_sets_is_given_them() -> None:
    tool = ToolModel(unknown=frozenset({10, 12}))
    wire = Wire(tool)
    wire.command(forward(10))
    assert "none" in wire.of("error")[0]["reason"]
    wire.address = OpenProtocolTool("h", sets={3: 10.0})
    wire.connect()
    wire.command(forward(10))
    wire.tool_sends(tool.fasten(1011))  # its own target is 14: this set tightens by the angle
    assert (tool.selected, torques(wire)) == (3, [(10.11, 10.0)])


def test_a_torque_keeps_the_decimals_of_the_command() -> None:
    wire = Wire(ToolModel(sets={1: 1234}))
    wire.command(forward(12.345))
    wire.tool_sends(wire.tool.fasten(1233))
    assert torques(wire) == [(12.33, 12.345)]


def test_a_result_of_another_set_has_its_own_target() -> None:
    wire = Wire(ToolModel())
    wire.command(forward(10))
    wire.tool.selected = 2  # at the tool, by hand
    wire.tool_sends(wire.tool.fasten(1300))
    assert torques(wire) == [(13.0, 13.0)]


def test_an_early_result_belongs_to_the_earlier_command() -> None:
    wire = Wire(ToolModel())
    wire.command(forward(10), b"1")
    wire.tool.deaf = True
    wire.command(forward(13), b"2")
    wire.tool_sends(wire.tool.fasten(1000))
    wire.tool_sends(message(5, 1, "0018") + message(5, 1, "0043"))
    wire.tool.selected = 2
    wire.tool_sends(Done(id=2, hundredths=1300, set=2, target=1300).pushed(3))
    assert [mark for event, mark in zip(wire.events, wire.marks, strict=True) if event["type"] == "operation"] == [b"1", b"2"]


@pytest.mark.parametrize("highest", [1, 3])
def test_results_of_an_interruption_are_fetched_in_order(highest: int) -> None:
    wire = Wire(ToolModel(highest={1: 1, 60: highest, 64: highest}))
    wire.command(forward(10), b"1")
    wire.tool_sends(wire.tool.fasten(1001))
    wire.tool.connect()
    for each in (1002, 1003, 1004):
        assert wire.tool.fasten(each) == b""
    wire.tool.unacknowledged.clear()  # this tool does not send them again by itself
    wire.connect()
    assert (wire.ids, torques(wire)[1:]) == ([1, 2, 3, 4], [(10.02, 10.0), (10.03, 10.0), (10.04, 10.0)])
    assert [each["fetched"] for each in wire.of("operation")] == [False, True, True, True]
    assert wire.marks[-2] == b"1"
    wire.tool_sends(wire.tool.fasten(1005))
    assert wire.ids == [1, 2, 3, 4, 5]


def test_what_was_not_acknowledged_and_comes_again_counts_once() -> None:
    wire = Wire(ToolModel())
    wire.commits = False
    wire.tool_sends(wire.tool.fasten(1000))
    wire.tool.fasten(1001)
    wire.connect()
    assert wire.ids == [1, 2]
    wire.commit()
    assert (wire.ids, wire.tool.acknowledged) == ([1, 2], [1, 2])


def test_a_gap_while_connected_is_fetched_first() -> None:
    wire = Wire(ToolModel())
    wire.tool_sends(wire.tool.fasten(1000))
    wire.tool.results += [Done(id=2, hundredths=1001), Done(id=3, hundredths=1002)]
    wire.tool_sends(wire.tool.fasten(1003))
    assert wire.ids == [1, 2, 3, 4]


def test_results_that_the_tool_lost_are_reported() -> None:
    tool = ToolModel(results=[Done(id=each, hundredths=1000) for each in range(1, 51)], kept_from=48)
    ledger = Ledger(last_id=40)
    wire = Wire(tool, ledger=ledger)
    assert wire.ids == [48, 49, 50]
    assert wire.of("gap") == [{"tighteningIds": [[41, 47]], "reason": "the tool does not have them any more"}]


def test_a_tool_that_cannot_be_asked_reports_the_gap_and_goes_on() -> None:
    wire = Wire(ToolModel(unknown=frozenset({64})), ledger=Ledger(last_id=1))
    wire.tool_sends(Done(id=5, hundredths=1000).pushed(3))
    assert (wire.ids, wire.of("gap")[0]["tighteningIds"]) == ([5], [[2, 4]])


def test_only_the_newest_of_a_long_gap_are_fetched() -> None:
    tool = ToolModel(results=[Done(id=each, hundredths=1000) for each in range(1, 2001)])
    wire = Wire(tool, ledger=Ledger(last_id=0))
    assert wire.ids == list(range(1000, 2001))
    assert wire.of("gap")[0]["tighteningIds"] == [[1, 999]]


def test_results_before_the_first_connection_are_not_asked_for() -> None:
    tool = ToolModel(results=[Done(id=7, hundredths=1000)])
    wire = Wire(tool)
    assert (wire.ids, wire.of("status")[0]["tighteningId"]) == ([], 7)
    wire.tool_sends(tool.fasten(1000))
    assert wire.ids == [8]


def test_a_tool_that_counts_from_1_again_loses_nothing() -> None:
    tool = ToolModel(results=[Done(id=1, hundredths=1000, at="2026-12-01:12:00:00")])
    ledger = Ledger(last_id=900, last_at="2026-12-01:11:00:00")
    ledger.note(result_key(1, "2025-01-01:00:00:00"), recorded=True)
    wire = Wire(tool, ledger=ledger)
    wire.tool_sends(tool.fasten(1001))
    assert wire.ids == [1, 2]


def test_a_result_that_cannot_be_read_is_published_whole() -> None:
    wire = Wire(ToolModel())
    bad = message(61, 3, "01" + "x" * 40)
    wire.tool_sends(bad)
    (error,) = wire.of("error")
    assert "field 02" in error["reason"]
    assert error["frame"] == bad[:-1].decode()
    assert wire.tool.of(62) == [(1, "")]
    wire.tool_sends(wire.tool.fasten(1000))
    assert wire.ids == [1]


def test_keep_alives_in_time_and_a_silent_tool_is_lost() -> None:
    wire = Wire(ToolModel())
    for _ in range(60):
        wire.now_s += 1
        wire.do(wire.session.tick(wire.now_s))
    assert (len(wire.tool.of(9999)), wire.lost) == (7, [])
    wire.tool.deaf = True
    for _ in range(15):
        wire.now_s += 1
        wire.do(wire.session.tick(wire.now_s))
    assert wire.lost == ["the tool has sent nothing for 15 s"]
    assert wire.session.tick(wire.now_s + 99) == []


def test_a_tool_that_does_not_answer_is_lost_after_10_s() -> None:
    wire = Wire(ToolModel(deaf=True))
    wire.do(wire.session.tick(9.9))
    assert wire.lost == []
    wire.do(wire.session.tick(10.0))
    assert wire.lost == ["the tool has not answered to MID 0001 within 10 s"]


def test_a_busy_tool_is_named() -> None:
    assert Wire(ToolModel(refusals={1: 96})).lost == [
        "the tool refuses the communication: error 96, another client is connected"
    ]


def test_another_protocol_is_named() -> None:
    wire = Wire(ToolModel(deaf=True))
    wire.tool_sends(b"HTTP/1.1 400 Bad Request\r\n")
    assert wire.lost[0].startswith("the tool does not speak Open Protocol")


_STARTED: Callable[[], Wire] = lambda: Wire(ToolModel())  # noqa: E731


@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([b"0", b"00200002001         ", b"00320061003         010001020103\0"]))
)
def test_no_bytes_crash_the_session(pieces: list[bytes]) -> None:
    for wire in (_STARTED(), Wire(ToolModel(deaf=True))):
        for piece in pieces:
            wire.tool_sends(piece)
        wire.command(forward(10))
        wire.do(wire.session.tick(20.0))


_MIDS = st.sampled_from([2, 4, 5, 11, 13, 61, 65, 15, 9999])


@given(st.lists(st.tuples(_MIDS, st.integers(0, 999), st.text(st.characters(max_codepoint=255), max_size=60)), max_size=12))
def test_no_messages_crash_the_session(sent: list[tuple[int, int, str]]) -> None:
    for wire in (_STARTED(), Wire(ToolModel(deaf=True))):
        for mid, revision, data in sent:
            wire.command(forward(10))
            wire.tool_sends(message(mid, revision, "") if not data else _encoded(mid, revision, data))
        assert all(each["type"] in ("operation", "result", "error", "status", "gap") for each in wire.events)


def _encoded(mid: int, revision: int, data: str) -> bytes:
    return b"%04d%04d%03d         " % (20 + len(data), mid, revision) + data.encode("latin-1") + b"\0"


_STEPS = st.lists(st.sampled_from(["fasten", "fasten", "lose", "cut", "commit", "hold", "restart", "forget"]), max_size=25)


@given(_STEPS, st.sampled_from([1, 3]))
def test_every_result_once_whatever_breaks(steps: list[str], highest: int) -> None:
    """`lose`: made while not connected; `cut`: a new connection; `restart`: a new adapter, which knows what is recorded."""
    tool = ToolModel(highest={1: 3, 60: highest, 64: highest})
    wire = Wire(tool)
    recorded = wire.events
    for step in steps:
        if step == "fasten":
            wire.tool_sends(tool.fasten(1000))
        elif step == "lose":
            tool.revision = 0
            tool.fasten(1000)
        elif step == "cut":
            wire.connect()
        elif step in ("commit", "hold"):
            wire.commits = step == "commit"
            if wire.commits:
                wire.commit()
        elif step == "forget":
            tool.unacknowledged.clear()
        else:
            ledger = Ledger(last_id=0)
            for each in recorded:
                if each["type"] == "operation":
                    ledger.last_id = each["data"]["tighteningId"]
                    ledger.note(result_key(each["data"]["tighteningId"], each["data"]["time"]), recorded=True)
            wire = Wire(tool, ledger=ledger)
            wire.events[:0] = recorded
            recorded = wire.events
    wire.connect()
    wire.commit()
    assert wire.ids == [each.id for each in tool.results]
