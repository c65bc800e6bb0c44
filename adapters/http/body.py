"""Reads the body of a request up to a limit. How long it may take is the protocol's business."""

from starlette.requests import ClientDisconnect, Request

from adapters.http.errors import NotReadable, TooLarge


async def read_body(request: Request, largest_bytes: int) -> bytes:
    """Read the whole body.

    Args:
        request: its body is not read yet.
        largest_bytes: where it ends.

    Raises:
        TooLarge: the body is larger, or its Content-Length says so: then nothing is read.
        NotReadable: the client went away before the end.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > largest_bytes:
        raise TooLarge(largest_bytes)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > largest_bytes:
                raise TooLarge(largest_bytes)
    except ClientDisconnect:
        raise NotReadable("the body ended early") from None
    return bytes(body)


def is_json(content_type: str | None) -> bool:
    """Tell whether a Content-Type is JSON (RFC 6839 section 3.1 for `+json`); parameters do not count, JSON is UTF-8."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
