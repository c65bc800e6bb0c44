import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.contract.fastening.topics import Happening, State, TorqueCommand
from broker.errors import Rejected
from broker.message import Message
from controllers.fastening.declaration import DECLARATION
from controllers.fastening.station import MOST_UNUSABLE
from tests.controllers.fastening.world import CATALOG_OF_TESTS, TIMEOUT_S, Killed, World, controller


def started(serial: str = "RP-1", **given: object) -> World:
    world = World(**given)  # type: ignore[arg-type]
    answer = world.request("start", serial=serial)
    assert answer is not None
    assert answer.error is None
    return world


def wire(commands: list[TorqueCommand]) -> list[str]:
    return [f"{each.data.direction.value} {each.data.value}" if each.data else each.type for each in commands]


@pytest.mark.parametrize("marks", [True, False])
def test_the_sample_job(marks: bool) -> None:
    world = started(marks=marks)
    world.fasten(10.098)
    world.fasten(14.091)
    assert world.stored == {("RP-1", 1): 10.098, ("RP-1", 2): 14.091}
    world.reverse()
    assert world.stored == {("RP-1", 1): 10.098}
    world.fasten(13.15)
    world.fasten(14.01)
    assert world.stored == {("RP-1", 1): 10.098, ("RP-1", 2): 13.15, ("RP-1", 3): 14.01}
    assert world.reported == [
        *("job started", "step sent", "in range", "step sent", "out of range", "reverse sent", "reversed", "step sent"),
        *("in range", "step sent", "in range", "job complete"),
    ]
    assert wire(world.commands) == ["forward 10.0", "forward 13.0", "reverse None", "forward 13.0", "forward 14", "reset"]
    assert [each.torque_nm for each in world.events[-1].results] == [10.098, 13.15, 14.01]
    assert world.state.job is not None
    assert world.state.job.state is State.COMPLETE
    assert world.state.console is None


def test_commands_follow_the_drivers_protocol() -> None:
    first, *_ = [
        each for each in controller().on_message(
            Message(topic="fastening/d/request", payload=b'{"action":"start","serial":"RP-1"}'), 0
        ) if each.topic == "torque/d/command"
    ]  # fmt: skip
    assert first.payload == b'{"type":"setTorque","data":{"direction":"forward","value":10.0}}'
    world = started()
    world.fasten(9.4999)
    assert world.commands[-1] == TorqueCommand("setTorque", world.commands[-1].data)
    assert wire(world.commands)[-1] == "reverse None"


@pytest.mark.parametrize(
    ("serial", "kind", "text"),
    [
        ("RP-9", "unknown serial", "RP-9 does not exist"),
        ("RP-4", "no steps", "10-3 A"),
        ("RP-5", "no steps", "partId 4, which parts.json does not have"),
        ("", "invalid", "serial"),
        (None, "invalid", "name the serial number"),
    ],
)
def test_a_refused_start_sends_nothing(serial: str | None, kind: str, text: str) -> None:
    world = World()
    answer = world.request("start", serial=serial)
    assert answer is not None
    assert answer.error is not None
    assert answer.error.kind == kind
    assert text in answer.error.message
    assert (world.commands, world.events, world.retained) == ([], [], {})


def test_two_failures_in_a_row() -> None:
    world = started()
    for torque_nm in (9.0, 11.0):
        world.fasten(torque_nm)
        world.reverse()
    world.finish("RP-1")
    assert world.stored[("RP-1", 1)] == 10.0
    assert world.reported.count("out of range") == 2


def test_a_duplicate_operation_does_not_count_for_the_next_step() -> None:
    world = started("RP-3")
    first = world.mark
    world.fasten(5.01)
    world.fasten(5.01, mark=first)
    assert world.stored == {("RP-3", 1): 5.01}
    assert world.reported[-1] == "ignored"
    world.fasten(5.02)
    assert world.stored == {("RP-3", 1): 5.01, ("RP-3", 2): 5.02}


def test_another_configured_torque_changes_nothing() -> None:
    world = started(marks=False)
    world.fasten(10.0)
    before = world.retained.copy()
    world.fasten(10.0, configured=10.0)
    assert world.retained == before
    assert world.events[-1].reason == "it was made with 10.0 configured, step 2 needs 13.0"


def test_a_reverse_before_fastening_voids_the_previous_screw() -> None:
    world = started()
    world.fasten(10.1)
    world.reverse()
    assert world.stored == {}
    reversed_, sent = world.events[-2:]
    assert (reversed_.event, reversed_.step, reversed_.void, reversed_.asked) == (Happening.REVERSED, 1, True, False)
    assert (sent.event, sent.step) == (Happening.STEP_SENT, 1)
    assert wire(world.commands)[-1] == "forward 10.0"
    world.finish("RP-1")


def test_a_reverse_on_the_first_step_resends_it() -> None:
    world = started()
    world.reverse()
    assert (world.events[-2].void, world.events[-1].step) == (False, 1)
    world.reverse()
    world.finish("RP-1")


def test_a_reverse_after_completion_lets_the_job_resume() -> None:
    world = started()
    world.finish("RP-1")
    world.reverse()
    assert ("RP-1", 3) not in world.stored
    assert world.state.job is not None
    assert world.state.job.state is State.PAUSED
    world.request("start", serial="RP-1")
    assert world.reported[-2:] == ["job resumed", "step sent"]
    assert world.events[-1].step == 3


def test_a_duplicate_confirmation_voids_one_screw() -> None:
    world = started()
    world.fasten(10.0)
    world.fasten(99.0)
    mark = world.mark
    world.reverse()
    world.reverse(mark)
    assert world.stored == {("RP-1", 1): 10.0}


def test_connection_lost_between_command_and_operation() -> None:
    world = started(linked=True)
    world.link(True)
    old = world.mark
    world.link(False)
    world.tick(10 * TIMEOUT_S)
    assert "driver silent" not in world.reported
    world.link(True)
    assert world.reported[-3:] == ["driver away", "driver back", "step sent"]
    world.fasten(10.0, mark=old)  # the driver had queued it: it is the awaited one
    world.fasten(10.0, mark=old, configured=10.0)  # a duplicate, since the step was sent twice
    assert world.stored == {("RP-1", 1): 10.0}
    assert world.reported.count("in range") == 1


def test_nothing_is_sent_to_a_disconnected_driver() -> None:
    world = World()
    world.link(False)
    answer = world.request("start", serial="RP-1")
    assert answer is not None
    assert answer.connected is False
    assert world.reported == ["job started"]
    world.link(True)
    assert world.reported == ["job started", "driver back", "step sent"]
    world.finish("RP-1")


def test_a_silent_driver_is_reported_once_until_a_retry() -> None:
    world = started()
    world.tick(TIMEOUT_S - 0.1)
    assert world.reported[-1] == "step sent"
    world.tick(0.2)
    world.tick(TIMEOUT_S)
    assert world.reported.count("driver silent") == 1
    world.request("retry")
    assert wire(world.commands) == ["forward 10.0", "forward 10.0"]
    world.tick(TIMEOUT_S + 1)
    assert world.reported.count("driver silent") == 2
    world.fasten(10.0)
    assert world.reported[-1] == "step sent"


def test_a_late_operation_of_a_silent_driver_counts() -> None:
    world = started()
    world.tick(TIMEOUT_S + 1)
    world.fasten(10.2)
    assert world.stored == {("RP-1", 1): 10.2}


@pytest.mark.parametrize("state", ["fastening", "reversing"])
def test_pause_resets_and_start_resumes_at_the_same_step(state: str) -> None:
    world = started()
    world.fasten(10.0)
    if state == "reversing":
        world.fasten(99.0)
    world.request("pause")
    assert wire(world.commands)[-1] == "reset"
    assert world.reported[-1] == "job paused"
    world.request("start", serial="RP-1")
    assert world.events[-1].step == 2
    assert wire(world.commands)[-1] == ("reverse None" if state == "reversing" else "forward 13.0")
    world.finish("RP-1")


def test_cancel_resets_and_frees_the_driver() -> None:
    world = started()
    world.request("cancel")
    assert wire(world.commands)[-1] == "reset"
    assert world.reported[-1] == "job cancelled"
    world.fasten(10.0, configured=10.0)
    assert world.stored == {}
    answer = world.request("cancel")
    assert answer is not None
    assert answer.error is not None
    assert world.request("start", console="other", serial="RP-2").error is None  # type: ignore[union-attr]


def test_a_second_console_is_refused_while_one_holds_it() -> None:
    world = started()
    before = world.retained.copy()
    for serial in ("RP-1", "RP-2"):
        answer = world.request("start", console="second", serial=serial)
        assert answer is not None
        assert answer.error is not None
        assert (answer.error.kind, "console" in answer.error.message) == ("busy", True)
    for action in ("pause", "retry", "attach"):
        answer = world.request(action, console="second")
        assert answer is not None
        assert answer.error is not None
        assert answer.error.kind == "busy"
    assert world.retained == before


def test_another_console_takes_over_after_a_detach() -> None:
    world = started()
    world.fasten(10.0)
    world.receive(Message(topic="fastening/d/request", payload=b'{"action":"detach","console":"console"}'))
    assert world.state.console is None
    world.request("start", console="second", serial="RP-1")
    assert (world.events[-1].event, world.events[-1].step) == (Happening.STEP_SENT, 2)
    assert world.state.console == "second"
    world.receive(Message(topic="fastening/d/request", payload=b'{"action":"detach","console":"console"}'))
    assert world.state.console == "second"


def test_a_parked_job_is_resumed_at_any_driver() -> None:
    world = started()
    world.fasten(10.0)
    world.request("detach")
    world.request("start", serial="RP-2")
    assert [job.serial for job in world.state.parked] == ["RP-1"]
    world.finish("RP-2")
    world.crash()
    world.driver = "other"
    world.request("start", serial="RP-1")
    assert (world.events[-2].event, world.events[-1].step) == (Happening.RESUMED, 2)
    world.driver = "d"
    assert world.state.parked == ()


def test_a_serial_number_is_fastened_with_one_driver_at_a_time() -> None:
    world = started()
    world.driver = "other"
    answer = world.request("start", console="second", serial="RP-1")
    assert answer is not None
    assert answer.error is not None
    assert answer.error.kind == "busy"
    assert "with d" in answer.error.message


def test_three_drivers_at_once() -> None:
    world = World()
    for driver, serial in (("a", "RP-1"), ("b", "RP-2"), ("c", "RP-3")):
        world.driver = driver
        world.request("start", console=driver, serial=serial)
    jobs = {}
    for driver, serial in (("a", "RP-1"), ("b", "RP-2"), ("c", "RP-3")):
        world.driver = driver
        assert world.state.job is not None
        jobs[driver] = world.state.job.serial
        assert jobs[driver] == serial


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"not JSON", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"", "empty"),
        (b"[]", "wrong shape"),
        (b'{"type":"operation"}', "wrong shape"),
        (b'{"type":"operation","data":{"direction":"sideways","currentValue":1,"configuredValue":1}}', "direction"),
        (b'{"type":"operation","data":{"direction":"forward","currentValue":"1","configuredValue":1}}', "currentValue"),
        (b'{"type":"operation","data":{"direction":"forward","currentValue":true,"configuredValue":1}}', "currentValue"),
        (b'{"type":"operation","data":{"direction":"forward","currentValue":1e300,"configuredValue":1}}', "possible torque"),
        (b'{"type":"operation","data":{"direction":"forward","configuredValue":10}}', "currentValue"),
    ],
)
def test_invalid_frames_are_rejected_and_change_nothing(payload: bytes, text: str) -> None:
    world = started()
    before = world.retained.copy()
    with pytest.raises(Rejected, match=text) as rejected:
        world.receive(Message(topic="torque/d/event", payload=payload))
    assert world.retained == before
    assert [each.topic for each in rejected.value.consequences] == ["fastening/d/event"]


UNUSABLE = {"type": "operation", "data": {"direction": "forward", "currentValue": "4.2", "configuredValue": 10}}


def test_unusable_answer_is_reported_with_what_came() -> None:
    world = started()
    world.unusable(UNUSABLE)
    event = world.events[-1]
    assert (event.event, event.step, event.torque_nm) == (Happening.UNUSABLE, 1, None)
    assert event.reason is not None
    assert "currentValue" in event.reason
    assert '"currentValue":"4.2"' in event.reason
    world.tick(TIMEOUT_S)
    assert (world.events[-1].event, world.events[-1].reason) == (Happening.SILENT, event.reason)
    world.fasten(10.0)
    assert world.reported[-2:] == ["in range", "step sent"]
    world.tick(TIMEOUT_S)
    assert (world.events[-1].event, world.events[-1].reason) == (Happening.SILENT, None)


def test_long_unusable_answer_is_cut_and_printable() -> None:
    world = started()
    world.unusable("\x1b[2J" + "x" * 100_000)
    assert len(world.events[-1].reason or "") < 300
    assert (world.events[-1].reason or "").isprintable()


def test_reports_of_unusable_answers_are_bounded() -> None:
    world = started()
    for _ in range(50):
        world.unusable(UNUSABLE)
    assert world.reported.count("unusable answer") == MOST_UNUSABLE
    world.fasten(10.0)
    world.unusable(UNUSABLE)
    assert world.events[-1].step == 2


def test_unusable_answer_without_a_running_job_is_only_rejected() -> None:
    world = started()
    world.request("pause")
    before = len(world.events)
    world.unusable(UNUSABLE)
    assert len(world.events) == before


def test_unknown_messages_of_the_driver_are_ignored() -> None:
    world = started()
    before = len(world.events)
    world.frame({"type": "status", "data": {"battery": 80}})
    world.frame({"type": "news"})
    assert len(world.events) == before


def test_an_error_of_the_tool_is_reported() -> None:
    world = started()
    world.frame({"type": "error", "data": {"reason": "no set has the target\x1b 10 N·m"}})
    assert (world.events[-1].event, world.events[-1].step) == (Happening.UNUSABLE, 1)
    assert world.events[-1].reason == "no set has the target\N{REPLACEMENT CHARACTER} 10 N·m"
    before = len(world.events)
    for data in (None, 5, {"reason": 5}, "text"):
        world.frame({"type": "error", "data": data})
    assert len(world.events) == before


@pytest.mark.parametrize(("ok", "reported"), [(None, "in range"), (True, "in range"), (False, "out of range")])
def test_what_the_tool_judges_as_not_ok_is_done_again(ok: bool | None, reported: str) -> None:
    world = started()
    data = {"direction": "forward", "currentValue": 10.0, "configuredValue": 10}
    world.frame({"type": "operation", "data": data if ok is None else {**data, "tighteningOk": ok}})
    (event,) = (each for each in world.events if each.torque_nm is not None)
    assert (event.event.value, event.in_range, event.torque_nm) == (reported, ok is not False, 10.0)
    assert (event.reason is None) == (ok is not False)
    assert world.reported[-1] == ("reverse sent" if ok is False else "step sent")


def test_a_foreign_response_topic_is_rejected() -> None:
    world = World()
    for topic in ("heating/room-1/setpoint", "fastening/other/answer/x", "fastening/d/answer"):
        with pytest.raises(Rejected, match="response topic"):
            world.receive(Message(topic="fastening/d/request", payload=b"{}", response_topic=topic))


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"action":"fly"}', b'{"action":"start","more":1}', b"[1]"])
def test_a_bad_request_is_answered_or_rejected(payload: bytes) -> None:
    world = World()
    with pytest.raises(Rejected):
        world.receive(Message(topic="fastening/d/request", payload=payload))
    world.receive(Message(topic="fastening/d/request", payload=payload, response_topic="fastening/d/answer/x"))
    error = world.answers[-1].error
    assert error is not None
    assert error.kind == "invalid"


def test_the_catalog_is_published_once() -> None:
    fastening = controller()
    publications = fastening.on_tick(0.0) + fastening.on_tick(1.0)
    assert [(each.topic, each.retain) for each in publications] == [("fastening/catalog", True)]
    assert orjson.loads(publications[0].payload)["parts"][2] == {
        "part_id": 3, "part_number": "10-3", "revision": "A", "steps": [],
    }  # fmt: skip
    assert len(CATALOG_OF_TESTS.serials) == 5


def scripted(world: World) -> None:
    """Go through every state of the table."""
    world.tick()
    world.request("start", serial="RP-1")
    world.fasten(10.098)
    world.fasten(14.091)
    world.request("pause")
    world.request("start", serial="RP-1")
    world.reverse()
    world.fasten(13.15)
    world.reverse()
    world.request("pause")
    world.request("start", serial="RP-2")
    world.fasten(10.0)
    world.request("cancel")
    world.finish("RP-1")
    world.reverse()
    world.finish("RP-1")


def test_a_job_ends_right_after_a_kill_at_any_publication() -> None:
    """Kill the controller after 0, 1, 2… publications have reached the broker; a new one gets the retained messages."""
    survived, states = 0, set()
    for survive in itertools.count():
        world = World(survive=survive)
        try:
            scripted(world)
        except Killed:
            survived += 1
        else:
            break
        states.add(world.state.job.state if world.state.job else State.IDLE)
        world.crash()
        world.request("detach")
        world.finish("RP-1")
        job = world.state.job
        assert job is not None
        assert world.stored_by(job) == {each.step: each.torque_nm for each in job.results}
        assert [each.in_range for each in job.results] == [True] * 3
    assert survived > 30
    assert states == set(State)


FRAMES = st.one_of(
    st.tuples(st.just("fasten"), st.sampled_from([10.0, 13.0, 14, 5.0]), st.sampled_from([9.0, 10.0, 13.0, 14.0, 5.0, 99.0])),
    st.tuples(st.just("reverse")),
    st.tuples(st.just("stale"), st.sampled_from([10.0, 13.0, 14, 5.0])),
    st.tuples(st.just("link"), st.booleans()),
    st.tuples(st.just("pause")),
    st.tuples(st.just("retry")),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("detach")),
    st.tuples(st.just("start"), st.sampled_from(["RP-1", "RP-2", "RP-3", "RP-9"])),
    st.tuples(st.just("crash")),
    st.tuples(st.just("silence")),
    st.tuples(st.just("unknown")),
)


def happen(world: World, kind: object, *facts: Any) -> None:
    steps: dict[object, Callable[[], object]] = {
        "fasten": lambda: world.fasten(facts[1], configured=facts[0]),
        "reverse": world.reverse,
        "stale": lambda: world.fasten(facts[0], configured=facts[0], mark=b"job-0/1"),
        "link": lambda: world.link(facts[0]),
        "start": lambda: world.request("start", serial=facts[0]),
        "crash": world.crash,
        "silence": lambda: world.tick(TIMEOUT_S + 1),
        "unknown": lambda: world.frame({"type": "status"}),
    }
    steps.get(kind, lambda: world.request(str(kind)))()


@settings(max_examples=300)
@given(st.lists(FRAMES, max_size=30), st.booleans(), st.sampled_from(["RP-1", "RP-3"]))
def test_a_good_operator_can_finish_after_any_events(frames: list[tuple[object, ...]], marks: bool, serial: str) -> None:
    world = World(marks=marks)
    for kind, *facts in frames:
        happen(world, kind, *facts)
        job = world.state.job
        if job is not None:  # the job contains exactly what is stored
            assert world.stored_by(job) == {each.step: each.torque_nm for each in job.results}
            assert len({each.step for each in job.results}) == len(job.results)
    world.finish(serial)
    job = world.state.job
    assert job is not None
    assert {(job.serial, each.step): each.torque_nm for each in job.results}.items() <= world.stored.items()
    assert [each.step for each in job.results] == [1, 2, 3]


def test_the_declaration_lists_its_subscriptions() -> None:
    assert {each.template.text for each in DECLARATION.subscribes} == {
        "fastening/{driver}/request", "torque/{driver}/event", "torque/{driver}/link", "fastening/{driver}/job",
        "components/forget",
    }  # fmt: skip


def test_an_unsent_reset_is_sent_once_on_reconnect() -> None:
    world = World()
    world.link(True)
    world.request("start", serial="RP-1")
    world.link(False)
    world.request("pause")
    world.link(True)
    world.link(False)
    world.link(True)
    assert wire(world.commands) == ["forward 10.0", "reset"]


def test_a_controller_killed_before_the_reset_sends_it() -> None:
    world = started()
    world.request("pause")
    world.crash()
    world.tick()
    world.tick()
    assert wire(world.commands) == ["forward 10.0", "reset", "reset"]


@pytest.mark.parametrize("state", ["fastening", "reversing"])
@pytest.mark.parametrize("action", ["attach", "start"])
def test_a_restarted_controller_waits_for_a_console(state: str, action: str) -> None:
    world = started()
    world.link(True)
    if state == "reversing":
        world.fasten(99.0)
    world.request("detach")
    before = len(world.commands)
    world.crash()
    world.tick()
    world.link(True)
    assert world.commands[before:] == []
    world.request(action, console="second", serial="RP-1")
    world.tick()
    assert wire(world.commands[before:]) == ["reverse None" if state == "reversing" else "forward 10.0"]
    world.finish("RP-1")


def test_a_restarted_controller_sets_a_held_driver() -> None:
    world = started()
    world.crash()
    world.tick()
    assert wire(world.commands) == ["forward 10.0"] * 2


@pytest.mark.parametrize("link_first", [True, False])
def test_a_console_that_died_with_the_controller_is_detached(link_first: bool) -> None:
    world = World()
    if link_first:
        world.link(True)
    world.request("start", serial="RP-1")
    if not link_first:
        world.link(True)
    world.retained["components/torque-adapter/state"] = b'{"state":"online","boot":"b","version":"1"}'
    before = len(world.commands)
    world.kill()
    world.request("detach")
    world.crash()
    world.tick()
    assert wire(world.commands[before:]) == []


@pytest.mark.parametrize("lost", ["link", "adapter"])
def test_a_reconnected_driver_is_set_once_a_console_attaches(lost: str) -> None:
    world = World()
    world.link(True)
    world.request("start", serial="RP-1")
    world.request("detach")
    for connected in (False, True):
        world.link(connected) if lost == "link" else presence(world, "online" if connected else "offline")
    world.tick(TIMEOUT_S + 1)
    assert wire(world.commands) == ["forward 10.0"]
    assert "driver silent" not in world.reported
    world.request("attach", console="second")
    world.tick()
    assert wire(world.commands) == ["forward 10.0"] * 2


def test_operations_during_a_restart_count() -> None:
    world = started()
    world.fasten(10.1)
    world.fasten(13.1)
    world.kill()
    world.reverse()
    world.crash()
    assert world.stored == {("RP-1", 1): 10.1}
    world.finish("RP-1")
    second = started("RP-2")
    second.kill()
    second.fasten(10.3)
    second.crash()
    assert second.stored == {("RP-2", 1): 10.3}


def test_a_duplicate_reverse_voids_one_screw() -> None:
    world = started()
    world.fasten(10.0)
    world.fasten(13.0)
    mark = world.mark
    world.reverse()
    world.reverse(mark)
    assert world.stored == {("RP-1", 1): 10.0}


def test_a_screw_loosened_early_counts_as_loosened() -> None:
    world = started()
    mark = world.mark
    world.fasten(20.0)
    world.reverse(mark)
    assert world.stored == {}
    assert world.state.job is not None
    assert world.state.job.state is State.REVERSING
    world.reverse()
    assert [each.asked for each in world.events if each.event is Happening.REVERSED] == [False, True]
    world.finish("RP-1")


def test_a_retained_request_starts_nothing() -> None:
    world = World()
    with pytest.raises(Rejected, match="retained"):
        world.receive(Message(topic="fastening/d/request", payload=b'{"action":"start","serial":"RP-1"}', retain=True))
    assert world.commands == []


def presence(world: World, state: str) -> None:
    payload = orjson.dumps({"state": state, "boot": "b", "version": "1"})
    world.linked = state == "online"
    world.receive(Message(topic="components/torque-adapter/state", payload=payload))


@pytest.mark.parametrize("actions", [["pause"], ["pause", "cancel"], ["cancel"], ["pause", "reverse"], ["pause", "elsewhere"]])
@pytest.mark.parametrize("offline", ["link", "adapter"])
def test_a_driver_offline_when_its_job_ended_is_reset(actions: list[str], offline: str) -> None:
    world = World()
    world.link(True)
    world.request("start", serial="RP-1")
    world.link(False) if offline == "link" else presence(world, "offline")
    for action in actions:
        if action == "reverse":
            world.reverse()
        elif action == "elsewhere":
            world.driver, world.linked = "other", True
            world.request("start", serial="RP-1")
            world.driver = "d"
        else:
            world.request(action)
    before = len(world.commands)
    world.link(True) if offline == "link" else presence(world, "online")
    assert wire(world.commands[before:]) == ["reset"]


def test_commands_during_an_adapter_outage_are_resent() -> None:
    world = World()
    world.link(True)
    presence(world, "offline")
    world.request("start", serial="RP-1")
    assert world.commands == []
    presence(world, "online")
    assert wire(world.commands) == ["forward 10.0"]
    world.finish("RP-1")


def test_a_kill_while_a_job_moves_does_not_lose_it() -> None:
    for survive in range(12):
        world = started()
        world.fasten(10.1)
        world.request("pause")
        world.survive = survive
        with contextlib.suppress(Killed):
            world.request("start", serial="RP-1")
        world.missed = None
        world.crash()
        world.request("start", serial="RP-1")
        assert world.events[-1].step == 2


def test_an_unknown_driver_is_refused_if_others_are_known() -> None:
    world = World()
    world.link(True)
    world.driver = "nope"
    answer = world.request("start", serial="RP-1")
    assert answer is not None
    assert answer.error is not None
    assert (answer.error.kind, "there are d" in answer.error.message) == ("unknown driver", True)


def test_a_refused_request_without_response_is_rejected() -> None:
    with pytest.raises(Rejected, match="RP-9 does not exist"):
        World().receive(Message(topic="fastening/d/request", payload=b'{"action":"start","serial":"RP-9"}'))


def test_a_finished_job_is_not_held() -> None:
    world = started()
    world.finish("RP-1")
    answer = world.request("attach")
    assert answer is not None
    assert answer.error is not None
    assert answer.error.kind == "no job"


def forget(world: World, driver: str) -> dict[str, bytes]:
    payload = orjson.dumps({"kind": "driver", "name": driver})
    publications = world.controller.on_message(Message(topic="components/forget", payload=payload), 0.0)
    return {each.topic: each.payload for each in publications}


def test_a_driver_is_forgotten_unless_it_works() -> None:
    world = World()
    world.link(True)
    with pytest.raises(Rejected, match="is connected"):
        forget(world, "d")
    world.request("start", serial="RP-1")
    world.link(False)
    with pytest.raises(Rejected, match="unfinished job"):
        forget(world, "d")
    assert forget(world, "drivr") == {"fastening/drivr/job": b"", "torque/drivr/link": b""}
