"""The client's session: the settings, and ways to the broker, to the recorder and to its database file."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.client.errors import DatabaseInUse, NotOnline, Unreachable, Untrusted
from broker.mqtt.options import Address
from broker.runtime.settings import Settings

if TYPE_CHECKING:
    from adapters.client.answers import Answer, Source
    from adapters.client.bus import Bus
    from broker.contract.storage.topics import Progress, QueryRequest, StorageRequest
    from broker.message import Publication

ACCOUNT = "operator"
"""Account that clients log in with unless another one is configured."""

Notify = Callable[[str], None]
OpenFile = Callable[[Path], "AbstractContextManager[Source]"]


class Session:
    """One user's session: settings, connections and queries. Nothing is connected before it is needed.

    Args:
        open_file: opens a database file, read-only; raises DatabaseInUse, or Unreachable where it cannot be opened. Without
            it, only the recorder answers.
        hint: gets what is worth to know beside a result.
        warn: gets what may be wrong with a result, or delays it.
    """

    def __init__(self, open_file: OpenFile | None = None, hint: Notify = lambda _: None, warn: Notify = lambda _: None) -> None:
        self._open_file, self.hint, self.warn = open_file, hint, warn
        self._hinted = False

    @cached_property
    def settings(self) -> Settings:
        """The settings.

        Raises:
            InvalidSetting: a value cannot be used.
        """
        return Settings.load()

    @property
    def _address(self) -> Address:
        return self.settings.broker_address(ACCOUNT)

    def bus(
        self, session_expiry_s: int = 0, will: "Callable[[str], Publication] | None" = None
    ) -> "AbstractContextManager[Bus]":
        """Connect to the broker for the time of a `with` block. `will` returns the last will for an `answer_name`.

        Raises:
            Unreachable: there is no broker.
            Refused: the broker does not accept the login.
        """
        from adapters.client.paho_bus import connected

        return connected(self._address, session_expiry_s=session_expiry_s, will=will)

    def login(self, account: str | None, password: str | None) -> "AbstractContextManager[Bus]":
        """Connect with another account, or without one, for the time of a `with` block.

        Raises:
            Unreachable: there is no broker.
            Refused: the broker does not accept the login.
        """
        from adapters.client.paho_bus import connected

        return connected(replace(self._address, username=account, password=password))

    @contextmanager
    def query(self, request: "QueryRequest") -> "Iterator[Answer]":
        """Query the recorder, or the database file where no recorder runs.

        Raises:
            ClientError: there is no answer, or it is an error.
        """
        with self.source() as source:
            yield source.query(request)

    @contextmanager
    def source(self) -> "Iterator[Source]":
        """Connect to the recorder, or open the database file where no recorder runs, for any number of queries.

        Raises:
            ClientError: neither is there.
        """
        from adapters.client.recorder import Recorder

        with ExitStack() as stack:
            try:
                bus = stack.enter_context(self.recording_bus())
            except Untrusted:
                raise  # the user asked for that broker, whatever file is here
            except Unreachable as error:
                yield stack.enter_context(self._file(error))
            else:
                recorder = Recorder(bus)
                stack.callback(recorder.stop)  # an error keeps the answer's generator from being closed in time
                yield recorder

    @contextmanager
    def recording_bus(self) -> "Iterator[Bus]":
        """Connect to a broker that has a recorder, which stops the queries of this connection when it is lost.

        Raises:
            NotOnline: the broker has none.
            Stalled: it has one that cannot commit now.
            Unreachable: there is no broker.
        """
        from adapters.client.recorder import RECORDER, refuse_stalled
        from broker.contract.storage.answers import cancel

        with self.bus(will=cancel) as bus:
            if not RECORDER.is_online(bus):
                refuse_stalled(bus)
                place = f"{self.settings.mqtt_host}:{self.settings.mqtt_port}"
                raise NotOnline(f"no recorder is online at {place}", f"start it with `make up`; if it runs, {_LOOK}")
            yield bus

    def carry_out(self, request: "StorageRequest", on_progress: "Callable[[Progress], None]") -> str:
        """Let the recorder do something, and return what it did, as it reports it.

        Raises:
            NotOnline: there is none, or it stopped in the middle: parts of a day may have moved, none is lost or in two places.
            WrongUsage: the request cannot be carried out as it is.
            Failed: it could not be done; everything is as before.
        """
        from adapters.client.recorder import Recorder

        with self.recording_bus() as bus:
            return Recorder(bus).carry_out(request, on_progress)

    @contextmanager
    def _file(self, error: Unreachable) -> "Iterator[Source]":
        """Open the database file, since the recorder cannot be reached, and hint at that once."""
        path = self.settings.database
        if not path.exists():
            raise Unreachable(f"{error.message}, and there is no database at {path}", START)
        if self._open_file is None:
            raise error
        with ExitStack() as stack:
            try:
                source = stack.enter_context(self._open_file(path))
            except DatabaseInUse as in_use:
                raise _in_use(in_use, error) from in_use
            if not self._hinted:
                self.hint(f"{error.message}: answering from {path.name} itself")
                self._hinted = True
            yield source


START = "start everything with `make up`, or name its folder with SCAUP_DATA_DIR"
_LOOK = "`scaup logs recorder` says why it is not connected; SCAUP_MQTT_HOST and SCAUP_MQTT_PORT must name its broker"


def _in_use(in_use: DatabaseInUse, error: Unreachable) -> Unreachable:
    fix = _LOOK if isinstance(error, NotOnline) else error.fix
    return Unreachable(
        f"{in_use.message}, most likely the recorder, which answers over its broker only; and {error.message}", fix
    )


def rows_of(session: Session, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Query for an answer that fits into memory, and return one mapping per row.

    Raises:
        Refused: there are more rows than are answered at once.
        ClientError: there is no answer, or it is an error.
    """
    from adapters.client.answers import arrow_request

    with session.query(arrow_request(sql, parameters or {})) as answer:
        return answer.all_rows()
