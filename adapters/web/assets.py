"""The files of the page: our own in `static/`, and the libraries of `package.json`, which `bin/setup` installs beside it.

All are small, so they are read and compressed once, and served with an ETag: a browser asks again and gets 304.
"""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from adapters.http.errors import NotFound, Unavailable
from adapters.http.resource import Resource

_HERE = Path(__file__).parent
STATIC, LIBRARIES = _HERE / "static", _HERE / "node_modules"
VENDOR = {"lit-html.js": "lit-html/lit-html.js", "uPlot.js": "uplot/dist/uPlot.esm.js", "uPlot.css": "uplot/dist/uPlot.min.css"}
"""Paths under `/vendor/`, and the files of the libraries that are served there."""
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}
"""The page takes everything from its own server: nothing is allowed from elsewhere, and no script in the page itself."""


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    compressed: bytes
    media_type: str
    tag: str

    def response(self, request: Request) -> Response:
        headers = {**PAGE_HEADERS, "ETag": self.tag}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.compressed, headers={**headers, "Content-Encoding": "gzip"}, media_type=self.media_type)
        return Response(self.content, headers=headers, media_type=self.media_type)


class Assets:
    """The files of the page, read when they are first wanted."""

    def __init__(self, static: Path = STATIC, libraries: Path = LIBRARIES) -> None:
        self._paths = {path.relative_to(static).as_posix(): path for path in static.rglob("*") if path.suffix in _TYPES}
        self._vendor = {name: libraries / path for name, path in VENDOR.items()}
        self._files: dict[Path, _File] = {}

    def resources(self) -> list[Resource]:
        """Return the resources of the files; the page itself is at every path of `pages`."""
        return [Resource("/static/{path:path}", GET=self._static), Resource("/vendor/{name}", GET=self._library)]

    async def page(self, request: Request) -> Response:
        """Answer with the page.

        Raises:
            Unavailable: its libraries are not installed.
        """
        if not all(path.is_file() for path in self._vendor.values()):
            raise Unavailable("the libraries of the page are not installed: run `make setup`, then restart `web`")
        return self._file(self._paths["index.html"]).response(request)

    async def _static(self, request: Request) -> Response:
        return self._answer(self._paths.get(request.path_params["path"]), request)

    async def _library(self, request: Request) -> Response:
        return self._answer(self._vendor.get(request.path_params["name"]), request)

    def _answer(self, path: Path | None, request: Request) -> Response:
        if path is None or not path.is_file():
            raise NotFound(f"there is no {request.url.path[:200]}")
        return self._file(path).response(request)

    def _file(self, path: Path) -> _File:
        found = self._files.get(path)
        if found is None:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            found = self._files[path] = _File(content, gzip.compress(content, 9, mtime=0), _TYPES[path.suffix], tag)
        return found
