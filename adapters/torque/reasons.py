"""Why a driver is not connected, in words for people. Pure."""

import os
import re
import socket
import ssl

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import CloseCode

_ERRNO = re.compile(r"\[Errno (\d+)\]")


def why_unreachable(error: Exception, timeout_s: float) -> str:
    """Say why a connection could not be opened.

    Args:
        error: what `websockets.asyncio.client.connect` raised.
        timeout_s: how long it was given, in s.
    """
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, InvalidStatus):
        return f"handshake refused (HTTP {error.response.status_code})"
    if isinstance(error, InvalidHandshake):
        return f"handshake failed ({error})"
    if isinstance(error, socket.gaierror):
        return f"host not found ({error.strerror})"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return _of_the_system(error)
    return f"cannot connect ({error})"


def _of_the_system(error: OSError) -> str:
    """A host with several addresses has all their errors in one text, and no number."""
    numbers = dict.fromkeys(int(each) for each in _ERRNO.findall(str(error)))
    return ", ".join(os.strerror(each).lower() for each in numbers) or f"cannot connect ({error})"


def why_lost(error: ConnectionClosed) -> str:
    """Say why a connection ended; the codes are those of RFC 6455 section 7.4.1."""
    received, sent = error.rcvd, error.sent
    if received is not None and (sent is None or error.rcvd_then_sent):
        return f"closed by the driver ({received.code}{_because(received.reason)})"
    if sent is None:
        return "connection lost"
    if sent.code == CloseCode.MESSAGE_TOO_BIG:
        return f"the driver sent a frame that is too large ({sent.code}{_because(sent.reason)})"
    if sent.code == CloseCode.INTERNAL_ERROR and "ping" in sent.reason:
        return "the driver does not answer to pings"
    return f"closed by the adapter ({sent.code}{_because(sent.reason)})"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
