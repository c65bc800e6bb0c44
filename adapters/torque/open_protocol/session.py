"""One connection to an Open Protocol tool, sans-I/O: bytes, commands and time in, actions out.

The protocol allows one request at a time. So everything that is asked of a tool is a script: a generator that yields a request
and is sent the tool's answer. Scripts run one after the other. What the tool sends unasked are results (MID 0061).

A result is published as soon as it is here, and acknowledged (MID 0062) only when the caller reports that it is recorded.
Tightening IDs count up, so a gap in them shows results that were not received: they are fetched (MID 0064) and published first.
"""

from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass

from adapters.torque.open_protocol.address import ASSUMED, OpenProtocolTool
from adapters.torque.open_protocol.errors import ERRORS, FINAL, NO_SUCH_RESULT, SUBSCRIBED_ALREADY, UNKNOWN_MID
from adapters.torque.open_protocol.frames import Frame, FrameReader, MalformedFrame, numbered_fields
from adapters.torque.open_protocol.ledger import Ledger, Setting
from adapters.torque.open_protocol.parameter_sets import (
    NoSet,
    ParameterSet,
    choose,
    parameter_set,
    same_torque,
    set_numbers,
)
from adapters.torque.open_protocol.results import FETCHED, PUSHED, ToolResult, event, read_result
from broker.contract.fastening.topics import Direction, TorqueCommand
from broker.message import encode

START, STARTED, STOP, REFUSED, ACCEPTED = 1, 2, 3, 4, 5
LIST_SETS, SETS, ASK_SET, SET, SELECT_SET = 10, 11, 12, 13, 18
DISABLE, ENABLE = 42, 43
SUBSCRIBE, ACKNOWLEDGE, UNSUBSCRIBE, FETCH = 60, 62, 63, 64
KEEP_ALIVE = 9999
_REPLIES = {START: STARTED, LIST_SETS: SETS, ASK_SET: SET, FETCH: FETCHED}
"""Answers that are neither 0004 nor 0005."""

START_REVISIONS = (5, 4, 3, 2, 1, 6)
"""From revision 6 on, a tool may number its messages and expect an acknowledgement of each: so that is asked for last."""
KEEP_ALIVE_S, SILENCE_S, ANSWER_S = 8.0, 15.0, 10.0
"""A tool disconnects after 15 s without a message (5.28.1), and is asked for one in time. It has 10 s to answer (3.3.5)."""
MOST_FETCHED = 1_000
"""Results that are fetched for one gap: the newest ones."""


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes for the tool."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Publish:
    """An event for the bus. With a `key`, call `recorded(key)` once the event is recorded."""

    payload: bytes
    mark: bytes | None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """The tool can be commanded, and every result that it kept is published."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection cannot be used any more."""

    reason: str


Action = Send | Publish | Ready | Lost
Script = Generator[Frame, Frame, None]


class _Unusable(Exception):
    """The connection cannot be started."""


@dataclass(frozen=True, slots=True)
class _Received:
    """A result and what the tool was set to when it came."""

    frame: Frame
    mark: bytes | None
    setting: Setting | None


class Session:
    """One connection. Every method returns what has to be done, in order; after `Lost`, nothing more comes."""

    def __init__(self, tool: OpenProtocolTool, ledger: Ledger) -> None:
        self._tool, self._ledger = tool, ledger
        self._reader = FrameReader()
        self._actions: list[Action] = []
        self._scripts: deque[Script] = deque()
        self._script: Script | None = None
        self._request: Frame | None = None
        self._sent_s = self._received_s = self._asked_s = 0.0
        self._sets: dict[int, ParameterSet] = {}
        self._name = ""
        self._revision, self._fetch_revision = tool.revision, tool.revision
        self._can_fetch = self._started = self._lost = False
        self._results: deque[_Received] = deque()
        self._fetching = False
        self._unacknowledged: set[str] = set()

    def begin(self, now_s: float) -> list[Action]:
        """Begin, on a new connection."""
        self._sent_s = self._received_s = now_s
        self._scripts.append(self._start())
        self._run(now_s)
        return self._taken()

    def receive(self, data: bytes, now_s: float) -> list[Action]:
        """Take bytes from the tool."""
        self._received_s = now_s
        self._reader.feed(data)
        try:
            while not self._lost and (frame := self._reader.next_frame()) is not None:
                self._take(frame, now_s)
        except MalformedFrame as error:
            self._lose(f"the tool does not speak Open Protocol: {error}")
        return self._taken()

    def tick(self, now_s: float) -> list[Action]:
        """Let time pass; call it at least every second."""
        if self._lost:
            return []
        if self._request is not None and now_s - self._asked_s >= ANSWER_S:
            self._lose(f"the tool has not answered to MID {self._request.mid:04} within {ANSWER_S:g} s")
        elif now_s - self._received_s >= SILENCE_S:
            self._lose(f"the tool has sent nothing for {SILENCE_S:g} s")
        elif now_s - self._sent_s >= KEEP_ALIVE_S:
            self._send(Frame(KEEP_ALIVE), now_s)
        return self._taken()

    def command(self, command: TorqueCommand, mark: bytes | None, now_s: float) -> list[Action]:
        """Take a command for the tool; `mark` is its correlation data."""
        if not self._lost:
            self._scripts.append(self._obey(command, mark))
            self._run(now_s)
        return self._taken()

    def recorded(self, key: str, now_s: float) -> list[Action]:
        """Take that an event is recorded: its result is acknowledged."""
        self._ledger.note_recorded(key)
        if key in self._unacknowledged and not self._lost:
            self._unacknowledged.remove(key)
            self._send(Frame(ACKNOWLEDGE), now_s)
        return self._taken()

    def stop(self) -> bytes:
        """Return the bytes that end the communication."""
        return Frame(STOP).encode()

    def _taken(self) -> list[Action]:
        taken, self._actions = self._actions, []
        return taken

    def _lose(self, reason: str) -> None:
        self._lost = True
        self._actions.append(Lost(reason))

    def _send(self, frame: Frame, now_s: float) -> None:
        self._sent_s = now_s
        self._actions.append(Send(frame.encode()))

    def _take(self, frame: Frame, now_s: float) -> None:
        if frame.mid == PUSHED:
            self._results.append(_Received(frame, self._ledger.mark, self._ledger.setting))
            if self._started:
                self._publish_results(now_s)
        elif self._request is not None and _answers(self._request, frame):
            self._request = None
            self._run(now_s, frame)

    def _run(self, now_s: float, answer: Frame | None = None) -> None:
        """Run scripts until one of them waits for an answer."""
        while self._request is None and not self._lost:
            if self._script is None:
                if not self._scripts:
                    return
                self._script, answer = self._scripts.popleft(), None
            try:
                self._request = next(self._script) if answer is None else self._script.send(answer)
            except StopIteration:
                self._script = answer = None
                continue
            except _Unusable as error:
                self._lose(str(error))
                return
            self._asked_s = now_s
            self._send(self._request, now_s)

    def _start(self) -> Script:
        """Open the communication, subscribe to results, and publish what was missed."""
        answer = yield from _highest(START, [each for each in START_REVISIONS if each <= self._tool.revision])
        _require(answer, "refuses the communication")
        with suppress(MalformedFrame):  # the name is only shown
            self._name = numbered_fields(answer.data, (4, 2, 25))[2].strip()
        yield from self._learn()
        answer = yield from self._subscribe()
        if refusal(answer) == SUBSCRIBED_ALREADY:
            yield Frame(UNSUBSCRIBE)
            answer = yield from self._subscribe()
        _require(answer, "refuses to report results")
        yield from self._look_back()
        self._started = True
        yield from self._catch_up()
        self._publish(self._status())
        self._actions.append(Ready())

    def _subscribe(self) -> Generator[Frame, Frame, Frame]:
        for revision in range(self._tool.revision, 0, -1):
            self._revision = revision
            answer = yield Frame(SUBSCRIBE, revision)
            if _is_final(answer):
                break
        return answer

    def _learn(self) -> Script:
        """Ask for the parameter sets and their targets; a tool that cannot tell them needs them in its address."""
        if self._tool.sets:
            return
        answer = yield Frame(LIST_SETS)
        self._sets = {}
        if answer.mid != SETS:
            return
        try:
            numbers = set_numbers(answer)
        except MalformedFrame as error:
            self._publish(_error(f"the tool's list of parameter sets cannot be read: {error}", answer.text))
            return
        for each in numbers:
            answer = yield Frame(ASK_SET, data=f"{each:03}")
            if answer.mid == SET:
                self._take_set(each, answer)

    def _take_set(self, number: int, answer: Frame) -> None:
        try:
            self._sets[number] = parameter_set(answer)
        except MalformedFrame as error:
            self._publish(_error(f"parameter set {number} of the tool cannot be read: {error}", answer.text))

    def _look_back(self) -> Script:
        """Ask for the tool's latest result, which may have come while it was not connected."""
        answer = yield from self._fetch(0)
        self._can_fetch = answer.mid == FETCHED or refusal(answer) == NO_SUCH_RESULT
        if answer.mid != FETCHED:
            if self._ledger.last_id is None and self._can_fetch:
                self._ledger.last_id = 0
            return
        try:
            latest = read_result(answer)
        except MalformedFrame as error:
            self._can_fetch = False
            self._publish(_error(f"the latest result of the tool cannot be read: {error}", answer.text))
            return
        if self._ledger.last_id is None:  # results from before the first connection ever are not asked for
            self._ledger.advance(latest)
            self._ledger.note(latest.key, recorded=True)
            return
        self._results.appendleft(_Received(answer, self._ledger.mark, self._ledger.setting))

    def _fetch(self, number: int) -> Generator[Frame, Frame, Frame]:
        for revision in range(self._fetch_revision, 0, -1):
            self._fetch_revision = revision
            answer = yield Frame(FETCH, revision, f"{number:010}" + ("0" if revision == 10 else ""))  # 0: not only offline ones
            if _is_final(answer):
                break
        return answer

    def _publish_results(self, now_s: float) -> None:
        """Publish what was received, unless results before it have to be fetched first."""
        if not self._fetching:
            self._fetching = True
            self._scripts.appendleft(self._catch_up())
            self._run(now_s)

    def _catch_up(self) -> Script:
        self._fetching = True
        while self._results:
            received = self._results[0]
            try:
                result = read_result(received.frame)
            except MalformedFrame as error:
                self._publish_unreadable(received, str(error))
            else:
                if not self._ledger.is_published(result.key):
                    yield from self._fill(result, received)
                self._publish_result(result, received)
            self._results.popleft()
        self._fetching = False

    def _fill(self, result: ToolResult, received: _Received) -> Script:
        """Fetch and publish the results between the latest one and this one."""
        last = self._ledger.last_id
        if last is None or result.id <= last + 1:
            return
        missing = list(range(last + 1, max(last + 1, result.id - MOST_FETCHED)))
        for number in range(last + 1 + len(missing), result.id):
            found = None
            if self._can_fetch:
                answer = yield from self._fetch(number)
                found = self._fetched(answer, number)
                self._can_fetch = found is not None or refusal(answer) in (None, NO_SUCH_RESULT)
            if found is None:
                missing.append(number)
            elif not self._ledger.is_published(found.key):
                self._publish_result(found, _Received(answer, received.mark, received.setting))
        if missing:
            self._publish(_missing(missing, self._can_fetch))

    def _fetched(self, answer: Frame, number: int) -> ToolResult | None:
        if answer.mid != FETCHED:
            return None
        try:
            result = read_result(answer)
        except MalformedFrame as error:
            self._publish(_error(f"result {number} of the tool cannot be read: {error}", answer.text))
            return None
        return result if result.id == number else None

    def _publish_result(self, result: ToolResult, received: _Received) -> None:
        pushed = not result.fetched
        if self._ledger.is_published(result.key):
            if pushed and self._ledger.is_recorded(result.key):
                self._actions.append(Send(Frame(ACKNOWLEDGE).encode()))
            elif pushed:
                self._unacknowledged.add(result.key)
            return
        if pushed:
            self._unacknowledged.add(result.key)
        self._ledger.note(result.key)
        self._ledger.advance(result)
        payload = event(result, self._configured_nm(result, received.setting))
        self._actions.append(Publish(payload, received.mark, result.key))

    def _publish_unreadable(self, received: _Received, reason: str) -> None:
        """Publish a result that cannot be read, whole, and acknowledge it too: the tool would send it for ever."""
        key = received.frame.text
        if self._ledger.is_published(key):
            self._unacknowledged.add(key)
            if self._ledger.is_recorded(key):
                self._unacknowledged.remove(key)
                self._actions.append(Send(Frame(ACKNOWLEDGE).encode()))
            return
        self._ledger.note(key)
        self._unacknowledged.add(key)
        payload = _error(f"a result of the tool cannot be read: {reason} (see ?revision= in docs/fastening.md)", key)
        self._actions.append(Publish(payload, received.mark, key))

    def _configured_nm(self, result: ToolResult, setting: Setting | None) -> float | None:
        """Return the torque that was set: the tool's own target, in the decimals of the command that selected it."""
        learned, target_nm = self._sets.get(result.set), result.target_nm
        if target_nm is None and learned is not None:
            target_nm = learned.target_cnm / 100
        given = result.set in self._tool.sets
        if setting is not None and setting.set == result.set:
            if given or target_nm is None or same_torque(setting.torque_nm, round(100 * target_nm)):
                return setting.torque_nm
            return target_nm
        return self._tool.sets[result.set] if given else target_nm

    def _obey(self, command: TorqueCommand, mark: bytes | None) -> Script:
        if command.type == "status":
            self._publish(self._status())
        elif command.type == "reset":
            answer = yield Frame(DISABLE)
            self._accept(answer, "disable the tool", mark, None, UNKNOWN_MID)
        elif command.data is not None and command.data.direction is Direction.REVERSE:
            yield from self._reverse(mark)
        elif command.data is not None and command.data.value is not None:
            yield from self._forward(command.data.value, mark)

    def _forward(self, torque_nm: float, mark: bytes | None) -> Script:
        try:
            try:
                chosen = choose(torque_nm, self._tool.sets, self._sets)
            except NoSet:
                yield from self._learn()  # a set may have been added or changed since
                chosen = choose(torque_nm, self._tool.sets, self._sets)
        except NoSet as error:
            self._publish(_error(str(error)), mark)
            return
        answer = yield Frame(SELECT_SET, data=f"{chosen:03}")
        if self._accept(answer, f"select parameter set {chosen}", mark, Setting(chosen, torque_nm)):
            answer = yield Frame(ENABLE)
            self._accept(answer, "enable the tool", mark, self._ledger.setting, UNKNOWN_MID)

    def _reverse(self, mark: bytes | None) -> Script:
        answer = yield Frame(ENABLE)
        if not self._accept(answer, "enable the tool", mark, self._ledger.setting, UNKNOWN_MID):
            return
        if self._tool.loosening_assumed:
            data = {"direction": "reverse", "configuredValue": 0, "currentValue": 0, "assumed": True}
            self._publish(encode({"type": "operation", "data": data}), mark)
        elif self._revision < 3:
            self._publish(
                _error(
                    f"the tool does not report loosening, in revision {self._revision} of its results: "
                    f"loosen the screw, and add ?loosening={ASSUMED} to the tool's URL"
                ),
                mark,
            )

    def _accept(
        self, answer: Frame, what: str, mark: bytes | None, setting: Setting | None, besides: Iterable[int] = ()
    ) -> bool:
        """Take the tool's answer to a command. From now on, its results answer this command."""
        code = refusal(answer)
        if code is not None and code not in besides:
            self._publish(_error(f"the tool refuses to {what}: {_meaning(code)}"), mark)
            return False
        self._ledger.mark, self._ledger.setting = mark, setting
        return True

    def _publish(self, payload: bytes, mark: bytes | None = None) -> None:
        self._actions.append(Publish(payload, self._ledger.mark if mark is None else mark))

    def _status(self) -> bytes:
        """Return what the recording needs to know of a tool: with its latest result, the next gap is found from there."""
        data = {
            "controller": self._name,
            "revision": self._revision,
            "fetchRevision": self._fetch_revision if self._can_fetch else None,
            "tighteningId": self._ledger.last_id,
            "time": self._ledger.last_at,
            "parameterSets": {each.number: each.target_cnm / 100 for each in self._sets.values()} or dict(self._tool.sets),
        }
        return encode({"type": "status", "data": data})


def refusal(answer: Frame) -> int | None:
    """Return the error code of MID 0004, None for any other answer. One that cannot be read is 99."""
    if answer.mid != REFUSED:
        return None
    code = answer.data[4:6].strip()
    return int(code) if code.isascii() and code.isdigit() else 99


def _answers(request: Frame, frame: Frame) -> bool:
    if frame.mid in (REFUSED, ACCEPTED):
        return frame.data[:4] == f"{request.mid:04}"
    return frame.mid == _REPLIES.get(request.mid)


def _highest(mid: int, revisions: Iterable[int]) -> Generator[Frame, Frame, Frame]:
    """Ask in one revision after the other, until the tool accepts it; return its last answer."""
    for revision in revisions:
        answer = yield Frame(mid, revision)
        if _is_final(answer):
            break
    return answer


def _is_final(answer: Frame) -> bool:
    """Return whether another revision would not change the answer."""
    code = refusal(answer)
    return code is None or code in FINAL


def _require(answer: Frame, what: str) -> None:
    code = refusal(answer)
    if code is not None:
        raise _Unusable(f"the tool {what}: {_meaning(code)}")


def _meaning(code: int) -> str:
    return f"error {code:02}, {ERRORS.get(code, 'unknown')}"


def _error(reason: str, frame: str | None = None) -> bytes:
    return encode({"type": "error", "data": {"reason": reason} if frame is None else {"reason": reason, "frame": frame}})


def _missing(numbers: list[int], asked: bool) -> bytes:
    reason = "the tool does not have them any more" if asked else "the tool cannot be asked for earlier results"
    return encode({"type": "gap", "data": {"tighteningIds": _ranges(numbers), "reason": reason}})


def _ranges(numbers: list[int]) -> list[list[int]]:
    """Return ascending numbers as ranges, both ends included."""
    ranges: list[list[int]] = []
    for each in numbers:
        if ranges and ranges[-1][1] == each - 1:
            ranges[-1][1] = each
        else:
            ranges.append([each, each])
    return ranges
