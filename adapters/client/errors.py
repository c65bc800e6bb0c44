"""Errors of the client. Each carries what to do about it.

ClientError
├── Failed            the answer is "no", or the work could not be finished
├── WrongUsage        an argument, a setting or a statement that cannot be used
├── Unreachable       the broker, the recorder or another component is not there
│   ├── ConnectionLost   the connection to the broker was lost
│   ├── Untrusted        TLS with the broker failed: another authority, another host name, or no TLS on this port
│   ├── NotOnline        there is a broker, but the component that should reply is not online
│   ├── NoReply          it is online, but does not reply in time
│   ├── BrokenReply      a part of its reply was lost, or the reply does not follow the protocol
│   └── DatabaseInUse    another process has the database file open
├── Stalled           there is a recorder, but it cannot commit now
└── Refused           the broker's access rules or the recorder's limits do not allow it
"""


class ClientError(Exception):
    """Root of every error of the client. `message` states what is wrong, `fix` what to do, where that is known."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message, self.fix = message, fix


class Failed(ClientError):
    """The answer is "no", or the work could not be finished."""


class WrongUsage(ClientError):
    """An argument, a setting or a statement that cannot be used."""


class Unreachable(ClientError):
    """The broker, the recorder or another component is not there, or does not reply."""


class ConnectionLost(Unreachable):
    """The connection to the broker was lost after it had been made."""


class Untrusted(Unreachable):
    """TLS with the broker failed: its certificate is not trusted, or it does not speak TLS on this port."""


class NotOnline(Unreachable):
    """There is a broker, but the component that should reply is not online, or stopped before it had replied."""


class NoReply(Unreachable):
    """The component that should reply does not reply in time."""


class BrokenReply(Unreachable):
    """A part of the reply was lost, or the reply does not follow the protocol."""


class DatabaseInUse(Unreachable):
    """Another process has the database file open; only one can."""


class Stalled(ClientError):
    """There is a recorder, but it can neither commit nor answer now: its file is open, so it cannot be read either."""


class Refused(ClientError):
    """The broker's access rules or the recorder's limits do not allow it."""
