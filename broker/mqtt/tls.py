"""TLS of a client's connection: the broker's certificate and its host name are always verified. Errors say what to change."""

import ssl

from broker.errors import InvalidSetting
from broker.mqtt.options import Address

_UNKNOWN_AUTHORITY = (18, 19, 20, 21)
_NOT_YET_VALID, _ENDED = 9, 10
_OTHER_NAME = (62, 64)
"""Results of verification, X509_V_ERR_… of OpenSSL."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNEXPECTED_EOF_WHILE_READING")
"""What OpenSSL reports when the other side sends something else than TLS, or closes the connection."""


def client_context(ca: str) -> ssl.SSLContext:
    """Return the context that trusts the authority in the PEM file `ca` only, and checks the broker's host name.

    Raises:
        InvalidSetting: the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise InvalidSetting(f"SCAUP_MQTT_CA {ca} has no certificate: name the PEM file with the broker's authority") from error
    except OSError as error:
        raise InvalidSetting(f"SCAUP_MQTT_CA {ca} cannot be read ({error.strerror}): name the authority's PEM file") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def why_not_trusted(error: Exception, address: Address) -> str | None:
    """Return why TLS with the broker failed and what to change, None for an error of another kind."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _unverified(error, address)
    if isinstance(error, ssl.SSLError) and error.reason not in _NO_TLS and not isinstance(error, ssl.SSLEOFError):
        return f"TLS failed with {str(error.reason or error).lower().replace('_', ' ')}: it must speak TLS 1.2 or newer"
    if isinstance(error, ssl.SSLError) or (address.ca and isinstance(error, ConnectionResetError)):
        return "it does not speak TLS on this port: SCAUP_MQTT_PORT must be its port for TLS (8883), or SCAUP_MQTT_CA left out"
    return None


def why_silent(address: Address) -> str:
    """Return why a broker may have closed the connection before its answer to CONNECT, with what to change."""
    if address.ca:
        return "it closed the connection before it answered; the port for devices with a certificate admits no password"
    return "it closed the connection before it answered; if this is its port for TLS, SCAUP_MQTT_CA must name its authority"


def _unverified(error: ssl.SSLCertVerificationError, address: Address) -> str:
    code = error.verify_code
    if code in _UNKNOWN_AUTHORITY:
        return f"its certificate is not of the authority in SCAUP_MQTT_CA {address.ca}: copy its own ca.pem from there"
    if code == _ENDED:
        return "its certificate has ended: renew it there with `scaup tls renew`"
    if code == _NOT_YET_VALID:
        return "its certificate is not valid yet: compare the clocks of both machines"
    if code in _OTHER_NAME:
        return (
            f"its certificate is not for the name {address.host}: set SCAUP_MQTT_HOST to one that it has, or add it there "
            f"with `scaup tls init --name {address.host}`"
        )
    return f"its certificate cannot be verified: {error.verify_message}"
