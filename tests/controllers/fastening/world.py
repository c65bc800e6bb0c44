"""A fastening controller with the broker's retained messages, an adapter, a driver and an operator, without sockets."""

import itertools
from dataclasses import dataclass, field

import msgspec
import orjson

from broker.contract.fastening.topics import (
    ANSWER,
    CATALOG,
    COMMAND,
    EVENT,
    JOB,
    Catalog,
    Direction,
    DriverState,
    FasteningAnswer,
    FasteningEvent,
    Happening,
    Job,
    Part,
    SerialNumber,
    State,
    Step,
    TorqueCommand,
)
from broker.errors import Rejected
from broker.message import Message, Publication, decode
from controllers.fastening.component import FasteningController

_VALUES = (Happening.IN_RANGE, Happening.OUT_OF_RANGE)
STEPS = (Step(1, 10.0, 9.5, 10.5), Step(2, 13.0, 12.35, 13.65), Step(3, 14, 13.3, 14.7))
SAME_TARGETS = (Step(1, 5.0, 4.5, 5.5), Step(2, 5.0, 4.5, 5.5), Step(3, 5.0, 4.5, 5.5))
CATALOG_OF_TESTS = Catalog(
    (
        SerialNumber("RP-1", 1),
        SerialNumber("RP-2", 1),
        SerialNumber("RP-3", 2),
        SerialNumber("RP-4", 3),
        SerialNumber("RP-5", 4),
    ),
    (Part(1, "10-1", "A", STEPS), Part(2, "10-2", "A", SAME_TARGETS), Part(3, "10-3", "A", ())),
)
TIMEOUT_S = 60.0
_ids = itertools.count(1)


def controller() -> FasteningController:
    return FasteningController(CATALOG_OF_TESTS, TIMEOUT_S, lambda: f"job-{next(_ids)}")


class Killed(Exception):
    """The controller was killed."""


@dataclass
class World:
    """`send` takes what the controller publishes; `crash` starts a new controller, which gets the retained messages."""

    driver: str = "d"
    marks: bool = True
    linked: bool | None = None
    controller: FasteningController = field(default_factory=controller)
    retained: dict[str, bytes] = field(default_factory=dict)
    events: list[FasteningEvent] = field(default_factory=list)
    commands: list[TorqueCommand] = field(default_factory=list)
    answers: list[FasteningAnswer] = field(default_factory=list)
    now_s: float = 0.0
    survive: int | None = None
    """Publications that still reach the broker before the controller is killed."""
    mark: bytes | None = None
    missed: list[Message] | None = None
    """Messages while the controller is down, which the broker queues; first the one it was killed over."""

    def send(self, publications: list[Publication]) -> None:
        for each in publications:
            if self.survive is not None:
                if self.survive == 0:
                    raise Killed
                self.survive -= 1
            self._take(each)

    def _take(self, each: Publication) -> None:
        if each.retain:
            self.retained[each.topic] = each.payload
        if COMMAND.parse(each.topic) and self.linked is not False:
            self.commands.append(decode(each.payload, TorqueCommand))
            self.mark = each.correlation_data
        elif EVENT.parse(each.topic):
            self.events.append(decode(each.payload, FasteningEvent))
        elif ANSWER.parse(each.topic):
            self.answers.append(decode(each.payload, FasteningAnswer))

    def receive(self, message: Message) -> None:
        if self.missed is not None:
            self.missed.append(message)
            return
        try:
            self.send(self.controller.on_message(message, self.now_s))
        except Killed:
            self.missed = [message]
            raise

    def tick(self, after_s: float = 1.0) -> None:
        self.now_s += after_s
        self.send(self.controller.on_tick(self.now_s))

    def request(self, action: str, console: str = "console", **given: object) -> FasteningAnswer | None:
        before = len(self.answers)
        self.receive(
            Message(
                topic=f"fastening/{self.driver}/request",
                payload=orjson.dumps({"action": action, "console": console, **given}),
                response_topic=f"fastening/{self.driver}/answer/{console}",
                correlation_data=b"c",
            )
        )
        return self.answers[-1] if len(self.answers) > before else None

    def frame(self, value: object, mark: bytes | None = None) -> None:
        correlation = mark if mark is not None else self.mark if self.marks else None
        self.receive(Message(topic=f"torque/{self.driver}/event", payload=orjson.dumps(value), correlation_data=correlation))

    def unusable(self, value: object) -> None:
        """Receive a frame that is rejected, and publish what follows, as the runtime does."""
        try:
            self.frame(value)
        except Rejected as rejected:
            self.send([*rejected.consequences])
        else:
            raise AssertionError("it was not rejected")

    def fasten(self, torque_nm: float, configured: float | None = None, mark: bytes | None = None) -> None:
        wanted = configured if configured is not None else self.set_torque
        data = {"direction": "forward", "currentValue": torque_nm, "configuredValue": wanted}
        self.frame({"type": "operation", "data": data}, mark)

    def reverse(self, mark: bytes | None = None) -> None:
        self.frame({"type": "operation", "data": {"direction": "reverse", "configuredValue": 0, "currentValue": 0}}, mark)

    def link(self, connected: bool, retain: bool = False) -> None:
        self.linked = connected
        payload = orjson.dumps({"connected": connected, "url": "ws://d", "error": None if connected else "unreachable"})
        self.retained[f"torque/{self.driver}/link"] = payload
        self.receive(Message(topic=f"torque/{self.driver}/link", payload=payload, retain=retain))

    def kill(self) -> None:
        self.missed = []

    def crash(self) -> None:
        """Kill the controller, if it is running, and start a new one, which gets retained messages, then missed ones."""
        self.survive, missed, self.missed = None, self.missed or [], None
        self.controller = controller()
        for topic, payload in self.retained.items():
            if topic != CATALOG.template.text:
                self.receive(Message(topic=topic, payload=payload, retain=True))
        for message in missed:
            self.receive(message)

    @property
    def state(self) -> DriverState:
        topic = JOB.template.topic(driver=self.driver)
        return decode(self.retained[topic], DriverState) if topic in self.retained else DriverState(None)

    @property
    def set_torque(self) -> float:
        sent = self.commands[-1].data
        return 0 if sent is None or sent.value is None else sent.value

    @property
    def reported(self) -> list[str]:
        return [each.event.value for each in self.events]

    @property
    def stored(self) -> dict[tuple[str, int], float | int]:
        """Return what the view `fastening` shows: for each serial number and step the last value that was not reversed."""
        values: dict[tuple[str, int], tuple[str, float | int]] = {}
        for each in self.events:
            screw = each.serial, each.step
            if each.event is Happening.REVERSED or (each.event is Happening.VOIDED and values.get(screw, ("",))[0] == each.job):
                values.pop(screw, None)
            elif each.event in (Happening.IN_RANGE, Happening.OUT_OF_RANGE):
                assert each.torque_nm is not None
                values[screw] = each.job, each.torque_nm
        return {screw: torque_nm for screw, (_, torque_nm) in values.items()}

    def stored_by(self, job: Job) -> dict[int, float | int]:
        """Return the values in the view that this job has stored."""
        last = {(each.serial, each.step): each.job for each in self.events if each.event in _VALUES}
        return {step: value for (serial, step), value in self.stored.items() if last[serial, step] == job.id}

    def finish(self, serial: str) -> None:
        """Work like a good operator: fasten and loosen as the driver is set, and resume unfinished jobs."""
        if self.linked is False:
            self.link(True)
        for _ in range(100):
            self.tick()
            job = self.state.job
            if job is not None and job.state is State.COMPLETE and job.serial == serial:
                return
            runs = job is not None and job.serial == serial and job.state in (State.FASTENING, State.REVERSING)
            if not runs or self.state.console is None:
                answer = self.request("start", serial=serial)
                assert answer is not None
                assert answer.error is None, answer.error
                continue
            sent = self.commands[-1].data
            assert sent is not None, "the driver was reset, and a job runs"
            self.reverse() if sent.direction is Direction.REVERSE else self.fasten(self.set_torque)
        raise AssertionError(f"not finished: {msgspec.json.encode(self.state).decode()}")
