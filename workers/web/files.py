"""The page's files, read once at the start: no request names a path of the disk."""

import gzip
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from cpppod.workers.web.answers import Problem, etag_of, has, takes_gzip

STATIC = Path(__file__).with_name("static")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class File:
    """One file as it is sent."""

    body: bytes
    packed: bytes
    kind: str
    etag: str


def load(folder: Path = STATIC) -> dict[str, File]:
    """Path below `/` -> file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in TYPES and path.is_file() and not path.is_symlink():
            body = path.read_bytes()
            packed = gzip.compress(body, 9, mtime=0)
            name = path.relative_to(folder).as_posix()
            found[name] = File(body, packed, TYPES[path.suffix], etag_of(body))
    return found


class Files:
    """The handler of everything that is not the API."""

    def __init__(self, files: dict[str, File]) -> None:
        self._files = files

    async def get(self, request: Request) -> Response:
        """A file, or 304 where the client has it.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        name = request.path_params.get("path", "") or INDEX
        file = self._files.get("favicon.svg" if name == "favicon.ico" else name)
        if file is None:
            raise Problem(404, request.url.path[:80], "no such page", "/")
        headers = {
            "ETag": file.etag,
            "Cache-Control": "no-cache",
            "Vary": "Accept-Encoding",
        }
        if has(request, file.etag):
            return Response(status_code=304, headers=headers)
        body = file.body
        if takes_gzip(request):
            body, headers["Content-Encoding"] = file.packed, "gzip"
        headers["Content-Type"] = file.kind
        return Response(body, headers=headers)
