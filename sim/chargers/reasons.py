"""Why a charger or a widget is not connected, in words for people. Pure."""

import os
import re
import socket

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

HTTP_NOT_FOUND = 404
_ERRNO = re.compile(r"\[Errno (\d+)\]")


def is_unknown(error: Exception) -> bool:
    """Tell whether the adapter does not know the id."""
    return isinstance(error, InvalidStatus) and error.response.status_code == HTTP_NOT_FOUND


def why_unreachable(error: Exception, timeout_s: float) -> str:
    """Say why a connection could not be opened within `timeout_s`."""
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, InvalidStatus):
        return f"refused with HTTP {error.response.status_code}"
    if isinstance(error, InvalidHandshake):
        return f"this is no charger adapter ({error})"
    if isinstance(error, socket.gaierror):
        return f"host not found ({error.strerror})"
    # A host with several addresses has the errors of all in one text, and no number.
    numbers = dict.fromkeys(int(each) for each in _ERRNO.findall(str(error)))
    return ", ".join(os.strerror(each).lower() for each in numbers) or f"cannot connect ({error})"


def said_with(error: Exception) -> str:
    """Return what the server said with its refusal, on one line that a terminal can show, after `: `; empty where nothing."""
    body = error.response.body if isinstance(error, InvalidStatus) else None
    return _because(printable((body or b"").decode("utf-8", "replace").strip().partition("\n")[0]))


def printable(text: str, longest: int = 200) -> str:
    """Return a text of a server's as a terminal may be given it: short, without control characters."""
    return "".join(each if each.isprintable() else "?" for each in text[:longest])


def why_lost(error: ConnectionClosed) -> str:
    """Say why a connection ended; the codes are those of RFC 6455 section 7.4.1."""
    received, sent = error.rcvd, error.sent
    if received is not None and (sent is None or error.rcvd_then_sent):
        return f"the server closed the connection ({received.code}{_because(printable(received.reason))})"
    if sent is None:
        return "the connection was lost"
    return f"this end closed the connection ({sent.code}{_because(sent.reason)})"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
