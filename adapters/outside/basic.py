"""HTTP Basic authentication (RFC 7617): read `Authorization`, and ask for it. Pure."""

import base64
import binascii
import re
from collections.abc import Sequence

CHALLENGE = 'Basic realm="Scaup", charset="UTF-8"'
"""`WWW-Authenticate` of every 401."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

LONGEST = 1_024
"""Characters of the credentials in base64."""


class NoLogin(ValueError):
    """A request without credentials that can be read; the text says what to send."""


def credentials(values: Sequence[str]) -> tuple[str, str]:
    """Return name and password from the values of all `Authorization` headers of a request.

    Raises:
        NoLogin: there is not exactly one, it is no Basic login, or it cannot be decoded (section 2).
    """
    if not values:
        raise NoLogin("beyond this machine a login is needed: HTTP Basic, with an account of `scaup account`")
    if len(values) > 1:
        raise NoLogin("there must be one Authorization header")
    scheme, _, token = values[0].partition(" ")
    if scheme.lower() != "basic" or not 0 < len(token.strip()) <= LONGEST:
        raise NoLogin("Authorization must be `Basic`, with name and password in base64")
    try:
        text = base64.b64decode(token.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise NoLogin("Authorization cannot be decoded: it must be base64 of name:password in UTF-8") from None
    name, colon, password = text.partition(":")
    if not colon or not name or _CONTROL.search(text):
        raise NoLogin("Authorization must hold name:password, without control characters")
    return name, password
