import socket
import ssl

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidMessage, InvalidStatus, InvalidURI
from websockets.frames import Close
from websockets.http11 import Response

from adapters.torque.gateway import why_lost, why_unreachable


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9600)"), "connection refused"),
        (
            OSError(
                "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] Connect call failed ('1', 1)"
            ),
            "connection refused",
        ),
        (
            OSError("Multiple exceptions: [Errno 101] Network is unreachable, [Errno 111] Connect call failed ('1', 1)"),
            "network is unreachable, connection refused",
        ),
        (OSError("unknown reason"), "cannot connect (unknown reason)"),
        (TimeoutError("timed out during opening handshake"), "no answer within 5 s"),
        (socket.gaierror(-2, "Name or service not known"), "host not found (Name or service not known)"),
        (InvalidStatus(Response(404, "Not Found", Headers())), "handshake refused (HTTP 404)"),
        (InvalidMessage("did not receive a valid HTTP response"), "handshake failed (did not receive a valid HTTP response)"),
        (ssl.SSLError(1, "wrong version number"), "cannot connect (wrong version number)"),
        (InvalidURI("x", "no"), "cannot connect (x isn't a valid URI: no)"),
    ],
)
def test_why_a_connection_cannot_be_opened(error: Exception, text: str) -> None:
    assert why_unreachable(error, 5.0) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionClosedError(None, None), "connection lost"),
        (ConnectionClosedError(Close(1001, ""), Close(1001, ""), True), "closed by the driver (1001)"),
        (ConnectionClosedError(Close(1012, "update"), None), "closed by the driver (1012: update)"),
        (ConnectionClosedError(None, Close(1011, "keepalive ping timeout")), "the driver does not answer to pings"),
        (ConnectionClosedError(None, Close(1009, "")), "the driver sent a frame that is too large (1009)"),
        (ConnectionClosedError(None, Close(1002, "bad")), "closed by the adapter (1002: bad)"),
        (ConnectionClosedError(Close(1000, ""), Close(1000, ""), False), "closed by the adapter (1000)"),
    ],
)
def test_why_a_connection_ended(error: ConnectionClosed, text: str) -> None:
    assert why_lost(error) == text
