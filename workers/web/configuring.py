"""The configuration over the web: the files in force, a change checked, saved, put in force.

    GET  configuration                 files with their texts and digests
    POST configuration/check           {name, text}: problems, or what it amounts to, and the diff
    PUT  configuration/files/{name}    {text, digest}: whole or not at all; not in force yet
    POST configuration/reload          {}: the plan and its digest; {confirm: digest}: done

All of it is an engineer's. A file is one that the gateway reads already, or a new one in `conf.d`
beside the first. What is saved was checked with all others; what is confirmed is what was planned.
"""

import contextlib
import difflib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cpppod.workers.rights import Right
from cpppod.workers.web.answers import Problem, answer, asked
from cpppod.workers.web.programs import Programs
from cpppod.workers.web.site import Site

NEW_FILE = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}\.toml")
PROGRAM = "cpppod.generation"


class Configuring:
    """Handlers of `/api/v1/configuration`."""

    def __init__(self, site: Site, programs: Programs) -> None:
        self._site = site
        self._programs = programs

    async def show(self, request: Request) -> Response:
        """The files that are in force, or will be at the next reload."""
        self._site.admit(request, Right.ENGINEER)
        files = await self._files()
        texts = await self._site.io(_read_all, files)
        return answer(
            request,
            {
                "files": [
                    {"name": name, "path": str(path), "text": text, "digest": _digest(text)}
                    for (name, path), text in zip(files.items(), texts, strict=True)
                ]
            },
            etag=True,
        )

    async def check(self, request: Request) -> Response:
        """What a change would be."""
        self._site.admit(request, Right.ENGINEER)
        given = await asked(request, name=str, text=str)
        return answer(request, await self._checked(given["name"], given["text"]))

    async def save(self, request: Request) -> Response:
        """Write one file, if all of them together are well and nobody else changed it.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        visitor = self._site.admit(request, Right.ENGINEER)
        given = await asked(request, text=str, digest=str)
        name = request.path_params["name"]
        told = await self._checked(name, given["text"])
        if told["problems"]:
            raise Problem(409, name, told["problems"][0][:400], "POST configuration/check")
        path = await self._path(name)
        if told["digest"] != given["digest"]:
            raise Problem(409, name, "somebody changed it meanwhile", "reading it again")
        try:
            await self._site.io(_save, path, given["text"])
        except OSError as error:
            raise Problem(
                403, str(path), error.strerror or str(error), "saving it by hand, as its owner"
            ) from None
        source = self._site.source(request, visitor)
        self._site.monitor.note("gateway", name, "configuration saved", "", source)
        return answer(request, {"name": name, "path": str(path), "digest": _digest(given["text"])})

    async def reload(self, request: Request) -> Response:
        """The plan of a reload; or, with the plan's digest, the reload.

        Raises:
            Problem: it is refused; who asks is told why.
        """
        visitor = self._site.admit(request, Right.ENGINEER)
        given = await asked(request)
        confirm = given.get("confirm")
        if confirm is not None and not isinstance(confirm, str):
            raise Problem(422, "confirm", "expected a text", "the digest of the plan")
        files = await self._files()
        digest = _digest("\0".join(await self._site.io(_read_all, files)))
        if confirm is not None and confirm != digest:
            raise Problem(409, "reload", "the files are others than those planned", "a new plan")
        source = self._site.source(request, visitor)
        done = await self._site.link.ask("reload", {"dry_run": confirm is None}, source)
        return answer(request, {**done, "digest": digest})

    async def _checked(self, name: str, text: str) -> dict[str, Any]:
        path = await self._path(name)
        files = await self._files()
        before = (await self._site.io(_read_all, {name: path}))[0]
        question = {"files": [str(each) for each in files.values()], "path": str(path)}
        told = await self._programs.ask(
            name, PROGRAM, "check", given=json.dumps({**question, "text": text}).encode()
        )
        lines = difflib.unified_diff(
            before.splitlines(), text.splitlines(), f"{name} (now)", name, lineterm=""
        )
        return {
            "name": name,
            "problems": told.get("problems", []),
            "summary": told.get("summary", []),
            "diff": "\n".join(lines),
            "digest": _digest(before),
        }

    async def _files(self) -> dict[str, Path]:
        """Name -> path of every file, also of those that came into `conf.d` since."""
        told = await self._site.link.ask("configuration", {})
        given = [Path(each) for each in told["files"]]
        first = given[0]
        folder = first.parent / "conf.d"
        beside = await self._site.io(lambda: sorted(folder.glob("*.toml")))
        paths = [first, *beside, *(each for each in given[1:] if each.parent != folder)]
        found: dict[str, Path] = {}
        for path in paths:
            name = path.name if path.name not in found else f"{path.parent.name}-{path.name}"
            found[name] = path
        return found

    async def _path(self, name: str) -> Path:
        """Where a file is, or will be.

        Raises:
            Problem: it cannot be one of the configuration's.
        """
        files = await self._files()
        if name in files:
            return files[name]
        if not NEW_FILE.fullmatch(name):
            raise Problem(422, name[:60], "no name of a file", "small letters, digits, _-, .toml")
        return next(iter(files.values())).parent / "conf.d" / name


def _read_all(files: dict[str, Path]) -> list[str]:
    """Texts of files; "" of one that is not there."""
    found = []
    for path in files.values():
        text = ""
        with contextlib.suppress(OSError):
            text = path.read_text("utf-8", errors="replace")
        found.append(text)
    return found


def _save(path: Path, text: str) -> None:
    """Replace a file: the old one or the new one is there, also after a power cut."""
    path.parent.mkdir(exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o640
    fresh = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
