"""The console on a bus in memory, with a controller that follows a script."""

import json
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from adapters.cli.systems.fastening.console import Clock, Console
from adapters.cli.systems.fastening.requests import console_name
from adapters.cli.systems.fastening.terminal import DescriptorKeyboard, interruptible
from adapters.client.bus import Received
from adapters.client.errors import ClientError, ConnectionLost, Failed, Refused, Unreachable, WrongUsage
from broker.message import Publication
from tests.adapters.cli.test_torque_dialogue import SAMPLE_TEXT, event_json, job_json, result
from tests.adapters.client.fakes import FakeBus

EVENT, LINK, STATE = "fastening/driver-1/event", "torque/driver-1/link", "components/fastening/state"
JOB = "fastening/driver-1/job"
_MOST_IDLE = 200

Script = Callable[[], None]
Event = tuple[str, str] | Script
"""A message (topic, payload), or a function called between two messages."""


def error(kind: str) -> dict[str, Any]:
    return {"job": None, "error": {"kind": kind, "message": f"{kind}: words"}, "connected": True}


def granted(**job: Any) -> dict[str, Any]:
    return {"job": job_json(**job), "error": None, "connected": True}


def event(kind: str, step: int = 1, **more: Any) -> tuple[str, str]:
    return EVENT, event_json(kind, step, **more)


def presence(state: str = "online", boot: str = "b1") -> str:
    return json.dumps({"state": state, "boot": boot, "version": "1"})


WHOLE_JOB: list[Event] = [
    event("job started"),
    event("step sent", 1),
    event("in range", 1, torque_nm=10.098),
    event("step sent", 2),
    event("out of range", 2, torque_nm=14.091),
    event("reverse sent", 2),
    event("reversed", 2, void=True, asked=True),
    event("step sent", 2),
    event("in range", 2, torque_nm=13.15),
    event("step sent", 3),
    event("in range", 3, torque_nm=14.01),
    event("job complete", 3, results=[result(1, 10.098), result(2, 13.15), result(3, 14.01)]),
]
COMPLETE = event("job complete", 3, results=[result(1, 19)])


def raising(what: BaseException) -> Script:
    def happen() -> None:
        raise what

    return happen


@dataclass
class TorqueBus(FakeBus):
    """A bus with a fastening controller: `answers` holds, per action and in order, its answers and the messages that follow.

    An action without an answer left is not answered. Time passes when no message is left.
    """

    answers: dict[str, deque[tuple[dict[str, Any] | None, list[Event]]]] = field(default_factory=dict)
    actions: list[str] = field(default_factory=list)
    serials: list[str | None] = field(default_factory=list)
    now_s: float = 1000.0
    connected: int = 0
    session_kept: bool = True
    unreachable: int = 0
    will: Publication | None = None
    keep_alive_s: int = 0
    script: deque[Event] = field(default_factory=deque)
    deaf: bool = False
    late: list[Event] = field(default_factory=list)
    idle_steps: int = 0

    def answer_with(self, action: str, given: dict[str, Any] | None, *then: Event) -> "TorqueBus":
        self.answers.setdefault(action, deque()).append((given, list(then)))
        return self

    def last_will(self, publication: Publication, keep_alive_s: int) -> None:
        self.will, self.keep_alive_s = publication, keep_alive_s

    def connect(self, resume: bool = False) -> bool:
        if self.connected and self.unreachable:
            self.unreachable -= 1
            raise Unreachable("no broker", "start it")
        self.connected += 1
        if not (resume and self.session_kept):
            self.filters.clear()
        return resume and self.session_kept

    def publish(self, publication: Publication, expiry_s: int | None = None) -> bool:
        if publication.topic != "fastening/driver-1/request":
            return super().publish(publication, expiry_s)
        asked = json.loads(publication.payload)
        self.published.append((publication, expiry_s))
        self.actions.append(asked["action"])
        self.serials.append(asked.get("serial"))
        if self.deaf:
            return False
        left = self.answers.get(asked["action"])
        if left:
            given, then = left.popleft()
            if given is not None and (response_topic := publication.response_topic) is not None:
                payload = json.dumps(given).encode()
                self.script.append(lambda: self.deliver(response_topic, payload, publication.correlation_data))
            self.script.extend(then)
        return True

    def receive(self, timeout_s: float) -> Received | None:
        while not self.inbox and self.script:
            following = self.script.popleft()
            if callable(following):
                following()
            else:
                self.deliver(following[0], following[1].encode())
        if self.inbox:
            self.idle_steps = 0
            return self.inbox.popleft()
        self.now_s += timeout_s
        self.idle_steps += 1
        if self.late and self.idle_steps > 2:
            self.script.append(self.late.pop(0))
        assert self.idle_steps < _MOST_IDLE, "the console waits for ever"
        return None


class Typed:
    """Lines that the operator types; None stands for no input at that moment, an error is raised."""

    def __init__(self, *lines: str | BaseException | None) -> None:
        self.lines = deque(lines)
        self.forgotten = 0

    def line(self, timeout_s: float | None = 0.0) -> str | None:
        if not self.lines:
            raise EOFError
        line = self.lines.popleft()
        if isinstance(line, BaseException):
            raise line
        return line

    def discard_typed(self) -> None:
        self.forgotten += 1


@pytest.fixture
def bus() -> TorqueBus:
    made = TorqueBus()
    made.retain(STATE, presence())
    return made


def run(bus: TorqueBus, *lines: str | BaseException | None, serial: str | None = None) -> None:
    clock = Clock(lambda: bus.now_s, lambda _pause_s: None)
    Console(bus, "driver-1", "me@here:1", Typed(*lines), clock).run(serial)


def test_the_sample_dialogue_line_for_line(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.answer_with("start", granted(), *WHOLE_JOB)
    run(bus, "RP-1")
    out, err = capfd.readouterr()
    assert out == f"Please Input a valid serial number:\n{SAMPLE_TEXT}"
    assert err == ""
    assert (bus.actions, bus.serials) == (["start"], ["RP-1"]), "complete: nothing to let go of"


def test_events_before_the_answer_are_shown_after_it(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.answer_with("start", None, *WHOLE_JOB[:2])
    original = bus.publish

    def answer_late(publication: Publication, expiry_s: int | None = None) -> bool:
        subscribed = original(publication, expiry_s)
        payload = json.dumps(granted()).encode()
        bus.script.append(lambda: bus.deliver(publication.response_topic or "", payload, publication.correlation_data))
        bus.script.extend(WHOLE_JOB[2:])
        return subscribed

    bus.publish = answer_late  # type: ignore[method-assign]
    run(bus, serial="RP-1")
    assert capfd.readouterr().out == SAMPLE_TEXT


def test_the_last_will_releases_the_job(bus: TorqueBus) -> None:
    bus.answer_with("start", granted(), COMPLETE)
    run(bus, serial="RP-1")
    assert bus.will is not None
    assert (bus.will.topic, bus.keep_alive_s) == ("fastening/driver-1/request", 10)
    assert json.loads(bus.will.payload) == {"action": "detach", "console": "me@here:1"}
    assert bus.filters == {
        EVENT, LINK, STATE, "components/torque-adapter/state", "fastening/driver-1/answer/scaup-cli-test"
    }  # fmt: skip


def test_blank_lines_and_wrong_serials_ask_again(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.answer_with("start", error("unknown serial")).answer_with("start", error("no steps"))
    bus.answer_with("start", granted(), COMPLETE)
    run(bus, "", "  ", "RP-9", None, "RP-8", "x" * 257, " RP-1 \r")
    out, err = capfd.readouterr()
    assert bus.serials == ["RP-9", "RP-8", "RP-1"]
    assert out == "Please Input a valid serial number:\n" * 6 + "Job Complete:\nStep 1: 19\n"
    assert err.splitlines() == [
        "Error: unknown serial: words",
        "Error: no steps: words",
        "A serial number has 256 characters at most.",
    ]


def test_a_wrong_serial_option_prompts_for_another(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.answer_with("start", error("unknown serial")).answer_with("start", granted(), COMPLETE)
    run(bus, "RP-1", serial="RP-9")
    assert bus.serials == ["RP-9", "RP-1"]
    assert capfd.readouterr().out.startswith("Please Input a valid serial number:\nJob")


@pytest.mark.parametrize("serial", [None, "RP-9"])
def test_no_more_input_at_the_prompt(bus: TorqueBus, serial: str | None) -> None:
    bus.answer_with("start", error("unknown serial"))
    with pytest.raises(Failed, match="input ended"):
        run(bus, serial=serial)
    assert "pause" not in bus.actions
    assert "detach" not in bus.actions


def test_the_end_of_the_input_matters_only_at_a_question(bus: TorqueBus) -> None:
    bus.answer_with("start", granted(), *WHOLE_JOB)
    run(bus, "RP-1")


@pytest.mark.parametrize(("kind", "expected"), [("busy", Refused), ("no job", Failed)])
def test_a_refusal_ends_it(bus: TorqueBus, kind: str, expected: type[ClientError]) -> None:
    bus.answer_with("start", error(kind))
    with pytest.raises(expected, match=f"{kind}: words"):
        run(bus, serial="RP-1")
    assert bus.actions == ["start"], "neither paused nor detached: it is another console's"


def test_a_controller_that_does_not_answer(bus: TorqueBus) -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        run(bus, serial="RP-1")
    assert bus.now_s == pytest.approx(1005), "5 s"
    assert bus.actions == ["start", "detach"], "should it have begun a job after all, no console holds it"


def test_an_absent_controller_is_not_awaited(bus: TorqueBus) -> None:
    bus.deaf = True
    with pytest.raises(Unreachable, match="does not answer"):
        run(bus, serial="RP-1")
    assert bus.now_s == 1000


def test_requests_carry_response_topic_and_correlation(bus: TorqueBus) -> None:
    bus.answer_with("start", granted(), COMPLETE)
    run(bus, serial="RP-1")
    publication, expiry_s = bus.published[0]
    assert (publication.content_type, expiry_s) == ("application/json", 5)
    assert publication.correlation_data
    assert json.loads(publication.payload) == {"action": "start", "serial": "RP-1", "console": "me@here:1"}


def test_answers_to_other_requests_are_ignored(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    other = json.dumps(error("busy")).encode()
    bus.script.append(lambda: bus.deliver("fastening/driver-1/answer/scaup-cli-test", other, b"other"))
    bus.answer_with("start", granted(), COMPLETE)
    run(bus, serial="RP-1")


def test_a_silent_driver_and_retry(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.answer_with("start", granted(), event("step sent"), event("driver silent"))
    bus.answer_with("retry", granted(), event("step sent"), COMPLETE)
    run(bus, None, "what", "", "R", serial="RP-1")
    out, err = capfd.readouterr()
    assert bus.actions == ["start", "retry"]
    assert out.startswith("Sending step #1 to torque driver.\nSending step #1 to torque driver again.\n")
    assert "The driver has not answered for 0 s. Is the screw fastened? [r]etry or [c]ancel:" in err
    assert err.count("Type r to send the step again") == 2


def test_a_silent_driver_and_cancel(bus: TorqueBus) -> None:
    bus.answer_with("start", granted(), event("driver silent")).answer_with("cancel", granted(state="idle"))
    with pytest.raises(Failed, match="cancelled"):
        run(bus, "c", serial="RP-1")
    assert bus.actions == ["start", "cancel"]


def test_a_late_answer_of_a_silent_driver(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.answer_with("start", granted(), event("step sent"), event("driver silent"))
    bus.late += [event("in range", torque_nm=10), COMPLETE]
    run(bus, *[None] * 20, "c", serial="RP-1")
    assert capfd.readouterr().out.endswith("Received 10 - In Range\n\nJob Complete:\nStep 1: 19\n")
    assert bus.actions == ["start"], "the c was typed for a question that is no more"


def test_a_silent_driver_at_the_end_of_the_input(bus: TorqueBus) -> None:
    bus.answer_with("start", granted(), event("driver silent")).answer_with("pause", granted(state="paused"))
    with pytest.raises(Failed, match="paused") as failed:
        run(bus, serial="RP-1")
    assert failed.value.fix == "go on with scaup torque run --serial RP-1 --driver driver-1"
    assert bus.actions == ["start", "pause"]


def test_an_unconfirmed_pause_at_the_end_of_the_input(bus: TorqueBus) -> None:
    bus.answer_with("start", granted(), event("driver silent"))
    with pytest.raises(Failed, match="did not confirm"):
        run(bus, serial="RP-1")
    assert bus.actions == ["start", "pause", "detach"]


def test_a_refused_retry_is_reported_and_asked_again(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.answer_with("start", granted(), event("driver silent")).answer_with("retry", error("no job"))
    bus.answer_with("cancel", granted(state="idle"))
    with pytest.raises(Failed):
        run(bus, "r", "c", serial="RP-1")
    assert "Error: no job: words. [r]etry or [c]ancel:" in capfd.readouterr().err


def test_input_typed_before_the_question_is_ignored(bus: TorqueBus) -> None:
    bus.answer_with("start", granted(), event("driver silent"), COMPLETE)
    keyboard = Typed()
    keyboard.lines.extend([None] * 5)
    Console(bus, "driver-1", "me", keyboard, Clock(lambda: bus.now_s)).run("RP-1")
    assert keyboard.forgotten == 1


def test_an_interrupt_pauses_the_job(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.answer_with("start", granted(), event("step sent"), raising(KeyboardInterrupt()))
    bus.answer_with("pause", granted(state="paused"))
    with pytest.raises(KeyboardInterrupt):
        run(bus, serial="RP-1")
    assert bus.actions == ["start", "pause"]
    err = capfd.readouterr().err
    assert "the job is paused and the driver is reset" in err
    assert "scaup torque run --serial RP-1 --driver driver-1" in err


def test_an_interrupt_without_an_answer_releases_the_job(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.answer_with("start", granted(), raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        run(bus, serial="RP-1")
    assert bus.actions == ["start", "pause", "detach"]
    assert bus.now_s == pytest.approx(1002), "2 s"
    assert "did not confirm" in capfd.readouterr().err


def test_an_interrupt_without_a_connection_does_not_wait(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    tried: list[object] = []

    def lost(publication: Publication, *_: object, **__: object) -> bool:
        tried.append(json.loads(publication.payload)["action"])
        raise ConnectionLost("lost")

    def lose() -> None:
        bus.publish = lost  # type: ignore[method-assign]
        raise KeyboardInterrupt

    bus.answer_with("start", granted(), lose)
    with pytest.raises(KeyboardInterrupt):
        run(bus, serial="RP-1")
    assert tried == ["pause"]
    assert "did not confirm" in capfd.readouterr().err


def test_an_interrupt_at_the_prompt(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(bus, KeyboardInterrupt())
    assert (bus.actions, capfd.readouterr().err) == ([], "")


@pytest.mark.parametrize(("holder", "actions"), [("busy", ["start", "attach", "detach"]), (None, ["start", "attach", "pause"])])
def test_an_interrupt_never_pauses_another_consoles_job(bus: TorqueBus, holder: str | None, actions: list[str]) -> None:
    bus.answer_with("start", None, raising(KeyboardInterrupt()))
    bus.answer_with("attach", error(holder) if holder else granted()).answer_with("pause", granted(state="paused"))
    with pytest.raises(KeyboardInterrupt):
        run(bus, serial="RP-1")
    assert bus.actions == actions


def test_the_console_attaches_to_a_restarted_controller(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    offline, restarted = (STATE, presence("offline")), (STATE, presence(boot="b2"))
    bus.answer_with("start", granted(), event("step sent"), offline, restarted)
    bus.answer_with("attach", granted(at=1, results=[result(1, 10.098)]), event("step sent", 2), COMPLETE)
    run(bus, serial="RP-1")
    out, err = capfd.readouterr()
    assert bus.actions == ["start", "attach"]
    assert err.splitlines() == [
        "fastening is offline: the job goes on when it is back.",
        "fastening is online.",
        "RP-1 at step 2 of 3 (recorded so far: step 1: 10.098).",
    ]
    assert out.splitlines()[:2] == ["Sending step #1 to torque driver.", "Sending step #2 to torque driver."]


def test_a_controller_without_the_job_after_its_completion(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.answer_with("start", granted(), (STATE, presence(boot="b2"))).answer_with("attach", error("no job"))
    kept: dict[str, Any] = {"job": job_json(state="complete", at=2, results=[result(1, 10.1)]), "console": None, "parked": []}
    bus.retain(JOB, json.dumps(kept))
    run(bus, serial="RP-1")
    assert capfd.readouterr().out == "Job Complete:\nStep 1: 10.1\n"


@pytest.mark.parametrize("session_kept", [True, False])
def test_a_lost_connection_is_reconnected(bus: TorqueBus, capfd: pytest.CaptureFixture[str], session_kept: bool) -> None:
    bus.session_kept, bus.unreachable = session_kept, 3
    bus.answer_with("start", granted(), event("step sent"), raising(ConnectionLost("the connection was lost")))
    bus.answer_with("attach", granted(at=1, results=[result(1, 10.1)]), event("step sent", 2), COMPLETE)
    run(bus, serial="RP-1")
    out, err = capfd.readouterr()
    assert bus.actions == ["start", "attach"]
    assert out.splitlines() == [*(f"Sending step #{n} to torque driver." for n in (1, 2)), "Job Complete:", "Step 1: 19"]
    assert "the connection was lost: reconnecting." in err
    assert "Reconnected." in err
    assert "RP-1 at step 2 of 3" in err
    assert EVENT in bus.filters


def test_events_during_a_lost_connection_are_shown(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.answer_with("start", granted(), raising(ConnectionLost("lost")), event("in range", torque_nm=10), COMPLETE)
    bus.answer_with("attach", granted(state="complete", results=[result(1, 10)]))
    run(bus, serial="RP-1")
    assert capfd.readouterr().out == "Received 10 - In Range\n\nJob Complete:\nStep 1: 19\n"


def test_a_completion_is_read_from_retained_state_on_reconnect(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.session_kept = False
    bus.answer_with("start", granted(), raising(ConnectionLost("lost")))
    bus.answer_with("attach", granted(state="complete", at=2, results=[result(1, 10.1), result(2, 19)]))
    run(bus, serial="RP-1")
    assert capfd.readouterr().out == "Job Complete:\nStep 1: 10.1\nStep 2: 19\n"


def test_a_connection_lost_at_the_prompt_or_at_the_start(bus: TorqueBus) -> None:
    bus.script.append(raising(ConnectionLost("lost at the prompt")))
    bus.answer_with("start", None, raising(ConnectionLost("lost at the start")))
    bus.answer_with("start", granted(), COMPLETE)
    run(bus, None, "RP-1")
    assert (bus.actions, bus.connected) == (["start", "start"], 3)


def test_an_unresponsive_controller_is_retried_every_5_s(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    def back() -> None:
        bus.deaf = False

    def lose() -> None:
        bus.deaf = True
        raise ConnectionLost("lost")

    bus.answer_with("start", granted(), lose)
    bus.late.extend([lambda: None] * 6)
    bus.late.append(back)
    bus.answer_with("attach", granted(), COMPLETE)
    run(bus, serial="RP-1")
    assert 2 < bus.actions.count("attach") < 8
    assert capfd.readouterr().err.count("The fastening controller does not answer") == 1


def test_another_consoles_job_is_released(bus: TorqueBus) -> None:
    bus.answer_with("start", granted(), (STATE, presence(boot="b2"))).answer_with("attach", granted(id="j2"))
    with pytest.raises(Failed, match="ended meanwhile"):
        run(bus, serial="RP-1")
    assert bus.actions == ["start", "attach", "detach"]


def test_a_driver_taken_by_another_console(bus: TorqueBus) -> None:
    bus.answer_with("start", granted(), (STATE, presence(boot="b2"))).answer_with("attach", error("busy"))
    with pytest.raises(Refused, match="busy"):
        run(bus, serial="RP-1")


@pytest.mark.parametrize("kind", ["job paused", "job cancelled"])
def test_another_console_ends_it(bus: TorqueBus, kind: str) -> None:
    bus.answer_with("start", granted(), event(kind))
    with pytest.raises(Failed, match=kind.removeprefix("job ")):
        run(bus, serial="RP-1")
    assert bus.actions == ["start"]


def test_a_disconnected_driver_is_reported(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.retain(LINK, '{"connected":false,"url":"ws://x","error":"connection refused"}')
    bus.answer_with("start", {**granted(), "connected": False}, event("driver back"), event("step sent"), COMPLETE)
    run(bus, serial="RP-1")
    assert capfd.readouterr().err.splitlines() == [
        "driver-1 is not connected (connection refused): the job begins when it is.",
        "driver-1 is connected.",
    ]


def test_an_unreadable_message_does_not_end_the_console(bus: TorqueBus, capfd: pytest.CaptureFixture[str]) -> None:
    bus.answer_with("start", granted(), (EVENT, "{"), (STATE, '"text"'), (LINK, ""), COMPLETE)
    run(bus, serial="RP-1")
    assert capfd.readouterr().err.count("Cannot read a message on") == 3


def test_a_closed_output_pauses_the_job(bus: TorqueBus, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object, err: bool = False, **__: object) -> None:
        if not err:
            raise BrokenPipeError

    monkeypatch.setattr("adapters.cli.systems.fastening.terminal.click.echo", closed)
    monkeypatch.setattr("adapters.cli.systems.fastening.terminal.discard_stdout", lambda: None)
    bus.answer_with("start", granted(), event("step sent")).answer_with("pause", granted(state="paused"))
    with pytest.raises(Failed, match="output was closed"):
        run(bus, serial="RP-1")
    assert bus.actions == ["start", "pause"]


def test_an_unreadable_answer_names_the_release(bus: TorqueBus) -> None:
    bus.answer_with("start", {"job": 1})
    with pytest.raises(Failed) as failed:
        run(bus, serial="RP-1")
    assert "release" in failed.value.fix
    assert bus.actions == ["start", "detach"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_interrupt_for_the_time_of_the_job(number: signal.Signals) -> None:
    inherited = signal.signal(number, signal.SIG_DFL)  # nohup has SIGHUP ignored
    try:
        with pytest.raises(KeyboardInterrupt), interruptible():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, inherited)


def test_an_ignored_hangup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def lines_of(keyboard: DescriptorKeyboard) -> Iterable[str | None]:
    with suppress(EOFError):
        while True:
            yield keyboard.line()


@pytest.mark.parametrize(
    ("written", "expected"),
    [(b"", []), (b"a\nb\n", ["a", "b"]), (b"a\n\nb", ["a", "", "b"]), (b"\xff\r\n", ["\N{REPLACEMENT CHARACTER}\r"])],
)
def test_lines_of_a_pipe(written: bytes, expected: list[str]) -> None:
    reading, writing = os.pipe()
    try:
        keyboard = DescriptorKeyboard(reading)
        assert keyboard.line() is None, "nothing yet, and no waiting"
        os.write(writing, written)
        os.close(writing)
        keyboard.discard_typed()
        assert list(lines_of(keyboard)) == expected
    finally:
        os.close(reading)


def test_input_typed_ahead_on_a_terminal_is_discarded() -> None:
    operator, terminal = os.openpty()
    try:
        keyboard = DescriptorKeyboard(terminal)
        os.write(operator, b"c\nc\n")
        assert keyboard.line(1.0) == "c"
        keyboard.discard_typed()
        assert keyboard.line() is None
        os.write(operator, b"r\n")
        assert keyboard.line(1.0) == "r"
        os.write(operator, b"\x04")
        with pytest.raises(EOFError):
            keyboard.line(1.0)
    finally:
        os.close(operator)
        os.close(terminal)


def test_a_console_has_a_name() -> None:
    assert console_name().endswith(f":{os.getpid()}")
    assert "@" in console_name()


def test_an_invalid_request_is_wrong_usage() -> None:
    from adapters.cli.systems.fastening.requests import refusal
    from broker.contract.fastening.topics import FasteningError

    assert isinstance(refusal(FasteningError("invalid", "words")), WrongUsage)
