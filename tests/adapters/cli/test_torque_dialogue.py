"""The lines and questions of the console, from literal events."""

import json
from typing import Any

import pytest

from adapters.cli.systems.fastening.dialogue import COMPLETE, Dialogue, resume_command
from adapters.cli.systems.fastening.lines import Line, Tone, result_lines
from broker.contract.components.topics import ComponentState
from broker.contract.fastening.topics import DriverLink, DriverState, FasteningAnswer, FasteningEvent, Happening
from broker.message import decode

STEPS = [{"step": n, "target_nm": 10, "min_nm": 9.5, "max_nm": 10.5} for n in (1, 2, 3)]


def job_json(**changed: Any) -> dict[str, Any]:
    usual = {"id": "j1", "state": "fastening", "serial": "RP-1", "part_number": "10-00045", "revision": "B"}
    return {**usual, "steps": STEPS, "at": 0, "attempt": 1, "results": [], **changed}


def event_json(kind: str, step: int = 1, **more: Any) -> str:
    usual = {"event": kind, "job": "j1", "serial": "RP-1", "part_number": "10-00045", "revision": "B", "step": step}
    return json.dumps({**usual, "target_nm": 10, "min_nm": 9.5, "max_nm": 10.5, **more})


def event(kind: str, step: int = 1, **more: Any) -> FasteningEvent:
    return decode(event_json(kind, step, **more).encode(), FasteningEvent)


def answer(error: str | None = None, connected: bool | None = True, **job: Any) -> FasteningAnswer:
    refused = {"kind": error, "message": f"{error}: words"} if error else None
    payload = {"job": None if error else job_json(**job), "error": refused, "connected": connected}
    return decode(json.dumps(payload).encode(), FasteningAnswer)


def online(boot: str = "b1", state: str = "online") -> ComponentState:
    return decode(json.dumps({"state": state, "boot": boot, "version": "1"}).encode(), ComponentState)


def result(step: int, torque_nm: float) -> dict[str, Any]:
    return {"step": step, "torque_nm": torque_nm, "in_range": True}


@pytest.fixture
def dialogue() -> Dialogue:
    made = Dialogue("driver-1")
    assert made.on_component("fastening", online()) == []
    assert made.begin(answer(), 0) == []
    return made


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines if not line.hint]


def hinted(lines: list[Line]) -> str:
    return "\n".join(line.text for line in lines if line.hint)


SAMPLE = [
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
SAMPLE_TEXT = """\
Sending step #1 to torque driver.
Received 10.098 - In Range

Sending step #2 to torque driver.
Received 14.091 - Out of range.
Please Re-Do

Sending reverse to torque driver.
Received reverse confirmation.

Sending step #2 to torque driver.
Received 13.15 - In Range

Sending step #3 to torque driver.
Received 14.01 - In Range

Job Complete:
Step 1: 10.098
Step 2: 13.15
Step 3: 14.01
"""


def test_the_sample_of_the_specification(dialogue: Dialogue) -> None:
    lines = [line for each in SAMPLE for line in dialogue.on_event(each, 1)]
    assert "".join(f"{text}\n" for text in texts(lines)) == SAMPLE_TEXT
    assert hinted(lines) == ""
    assert dialogue.end == COMPLETE


@pytest.mark.parametrize(("kind", "what"), [("step sent", "step #2"), ("reverse sent", "reverse")])
def test_a_resent_message_is_marked_as_such(dialogue: Dialogue, kind: str, what: str) -> None:
    events = [event(kind, 2), event("driver away", 2), event("driver back", 2), event(kind, 2), event("driver silent", 2)]
    lines = [line for each in [*events, event(kind, 2)] for line in dialogue.on_event(each, 0)]
    again = f"Sending {what} to torque driver again."
    assert texts(lines) == [f"Sending {what} to torque driver.", again, again]


@pytest.mark.parametrize("kind", ["in range", "out of range", "reversed"])
def test_a_message_after_an_answer_is_not_marked_as_resent(dialogue: Dialogue, kind: str) -> None:
    events = [event("step sent"), event(kind, torque_nm=1, void=False, asked=False), event("step sent")]
    lines = [line for each in events for line in dialogue.on_event(each, 0)]
    assert texts(lines).count("Sending step #1 to torque driver.") == 2


@pytest.mark.parametrize(
    ("written", "shown"),
    [("19", "19"), ("13.15", "13.15"), ("19.0", "19.0"), ("0", "0"), ("-0.5", "-0.5")],
)
def test_a_number_is_shown_verbatim(written: str, shown: str) -> None:
    payload = event_json("in range", torque_nm="NUMBER").replace('"NUMBER"', written)
    assert texts(result_lines(decode(payload.encode(), FasteningEvent)))[0] == f"Received {shown} - In Range"


def test_good_and_bad_have_a_tone() -> None:
    assert result_lines(event("in range", torque_nm=1))[0].tone is Tone.GOOD
    assert {line.tone for line in result_lines(event("out of range", torque_nm=1))[:2]} == {Tone.BAD}


def test_an_unrequested_reverse_names_the_step(dialogue: Dialogue) -> None:
    lines = dialogue.on_event(event("reversed", 2, void=True, asked=False), 0)
    assert texts(lines) == ["Received reverse - step #2 must be done again.", ""]


@pytest.mark.parametrize("kind", [each.value for each in Happening])
def test_every_event_is_understood_and_fits_a_terminal(dialogue: Dialogue, kind: str) -> None:
    lines = dialogue.on_event(event(kind, torque_nm=1.5, void=True, asked=True, reason="late"), 7)
    assert (lines != [] or dialogue.end is not None) is (kind not in ("job started", "voided"))
    assert all(len(line.text) <= 80 for line in lines)


def test_events_of_another_job_are_not_shown(dialogue: Dialogue) -> None:
    assert dialogue.on_event(event("in range", torque_nm=1, job="other"), 0) == []
    assert Dialogue("driver-1").on_event(event("in range", torque_nm=1), 0) == []


@pytest.mark.parametrize(("connected", "text"), [(False, "not connected (refused)"), (None, "No torque adapter"), (True, "")])
def test_a_driver_absent_at_the_beginning(connected: bool | None, text: str) -> None:
    dialogue = Dialogue("driver-1")
    dialogue.on_link(DriverLink(connected=False, url="ws://x", error="refused"))
    hints = hinted(dialogue.begin(answer(connected=connected), 0))
    assert text in hints if text else hints == ""


def test_a_resumed_job_shows_its_progress_once() -> None:
    dialogue = Dialogue("driver-1")
    lines = dialogue.begin(answer(at=1, results=[result(1, 10.098)]), 0)
    lines += dialogue.on_event(event("job resumed", 2), 0)
    assert hinted(lines) == "Resuming RP-1 at step 2 of 3 (recorded so far: step 1: 10.098)."
    assert texts(lines) == []


def test_a_job_resumed_at_its_first_step(dialogue: Dialogue) -> None:
    assert "step 1 of 3 (nothing recorded so far)" in hinted(dialogue.on_event(event("job resumed"), 0))


def test_the_question_about_a_silent_driver_shows_the_time(dialogue: Dialogue) -> None:
    dialogue.on_event(event("step sent"), 100)
    lines = dialogue.on_event(event("driver silent"), 130.4)
    assert hinted(lines) == "The driver has not answered for 30 s. Is the screw fastened? [r]etry or [c]ancel:"
    assert dialogue.asks


def test_unusable_answer_is_shown_and_no_silence(dialogue: Dialogue) -> None:
    dialogue.on_event(event("step sent"), 100)
    shown = hinted(dialogue.on_event(event("unusable answer", reason='no number: "4.2"'), 101))
    assert shown == 'The driver\'s answer cannot be used: no number: "4.2"'
    lines = dialogue.on_event(event("driver silent", reason='no number: "4.2"'), 130.4)
    assert hinted(lines) == "No usable answer for 30 s. Is the screw fastened? [r]etry or [c]ancel:"
    assert (dialogue.asks, dialogue.unusable) == (True, True)


@pytest.mark.parametrize(
    ("kind", "asks"),
    [
        ("in range", False),
        ("out of range", False),
        ("reversed", False),
        ("step sent", False),
        ("ignored", True),
        ("unusable answer", True),
        ("driver away", False),
    ],
)
def test_events_that_answer_the_question(dialogue: Dialogue, kind: str, asks: bool) -> None:
    dialogue.on_event(event("driver silent"), 30)
    dialogue.on_event(event(kind, torque_nm=10), 31)
    assert dialogue.asks is asks


def test_a_voided_value_is_reported_if_it_was_shown(dialogue: Dialogue) -> None:
    assert dialogue.on_event(event("voided", reason="restarted"), 0) == []
    dialogue.on_event(event("in range", torque_nm=10), 0)
    assert hinted(dialogue.on_event(event("voided", reason="restarted"), 0)) == "Step #1 must be done again: restarted."


def test_disconnections_and_ignored_values_are_hints(dialogue: Dialogue) -> None:
    assert "driver-1 is not connected (closed)" in hinted(dialogue.on_event(event("driver away", reason="closed"), 0))
    assert "driver-1 is connected" in hinted(dialogue.on_event(event("driver back"), 0))
    assert hinted(dialogue.on_event(event("ignored", torque_nm=9.9, reason="late"), 0)) == "Ignored 9.9: late."


def test_paused_and_cancelled_end_it(dialogue: Dialogue) -> None:
    dialogue.on_event(event("job paused"), 0)
    assert dialogue.end is not None
    assert not dialogue.end.complete
    assert "scaup torque run --serial RP-1 --driver driver-1" in dialogue.end.fix


def test_a_cancelled_job_ends_it(dialogue: Dialogue) -> None:
    dialogue.on_event(event("job cancelled"), 0)
    assert dialogue.end is not None
    assert "cancelled" in dialogue.end.message
    assert dialogue.on_event(event("in range", torque_nm=1), 0) == [], "nothing comes after the end"


def test_offline_and_online_components_are_reported(dialogue: Dialogue) -> None:
    assert "fastening is offline" in hinted(dialogue.on_component("fastening", online(state="offline")))
    assert "fastening is online" in hinted(dialogue.on_component("fastening", online()))
    assert "torque-adapter is offline" in hinted(dialogue.on_component("torque-adapter", online(state="offline")))
    assert not dialogue.attach_due, "it is the same start of the controller"


def test_a_restarted_controller_needs_an_attach(dialogue: Dialogue) -> None:
    dialogue.on_component("fastening", online("b2"))
    assert dialogue.attach_due
    lines = dialogue.on_attached(answer(at=1, results=[result(1, 10.1)]), None)
    assert hinted(lines) == "RP-1 at step 2 of 3 (recorded so far: step 1: 10.1)."
    assert (dialogue.attach_due, dialogue.attached, dialogue.end) == (False, True, None)


def kept(*parked: dict[str, Any], job: dict[str, Any] | None = None) -> DriverState:
    return decode(json.dumps({"job": job, "console": None, "parked": parked}).encode(), DriverState)


def test_a_job_completed_during_a_lost_connection(dialogue: Dialogue) -> None:
    dialogue.on_connection()
    complete = kept(job=job_json(state="complete", at=2, results=[result(1, 19), result(2, 13.15)]))
    assert texts(dialogue.on_attached(answer("no job"), complete)) == ["Job Complete:", "Step 1: 19", "Step 2: 13.15"]
    assert dialogue.end == COMPLETE


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (kept(job_json(state="paused")), "paused meanwhile"),
        (kept(job=job_json(state="paused out of range")), "paused meanwhile"),
        (kept(job=job_json(state="idle")), "ended meanwhile"),
        (kept(job=job_json(id="j2")), "ended meanwhile"),
        (None, "ended meanwhile"),
    ],
)
def test_a_job_paused_during_a_lost_connection(dialogue: Dialogue, state: DriverState | None, text: str) -> None:
    dialogue.on_connection()
    dialogue.on_attached(answer("no job"), state)
    assert dialogue.end is not None
    assert text in dialogue.end.message


def test_a_driver_taken_by_another_console(dialogue: Dialogue) -> None:
    dialogue.on_connection()
    dialogue.on_attached(answer("busy"), None)
    assert dialogue.end is not None
    assert dialogue.end.busy


def test_an_unresponsive_controller_is_reported_once(dialogue: Dialogue) -> None:
    dialogue.on_connection()
    assert "does not answer" in hinted(dialogue.on_attached(None, kept(job=job_json())))
    assert "does not answer" not in hinted(dialogue.on_attached(None, kept(job=job_json())))
    assert (dialogue.end, dialogue.attached) == (None, False)
    dialogue.on_component("fastening", online())
    assert dialogue.attach_due, "even of the same start: this connection is new to it"


def test_the_resume_command_is_quoted_for_a_shell() -> None:
    assert resume_command("a b", "driver-1") == "scaup torque run --serial 'a b' --driver driver-1"
