"""The web outlet: a page and an API over HTTP, out of the feed and the control socket.

    feed ──► values ──► tags, read ──► browsers, programs
             └► hub ──► live values
    control.sock ◄──► status, devices, history, writes, reloads

Nothing on the data path needs it: while it is away, nobody else notices.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpppod.protocols.bus.feed_events import Event, Updated
from cpppod.protocols.model.addresses import SocketAddress, is_loopback, socket_address
from cpppod.protocols.model.plant import Worker
from cpppod.workers.bus.subscription import FeedSubscription
from cpppod.workers.bus.write_orders import WriteOrders
from cpppod.workers.process.io_thread import IoThread, IoThreadBusy
from cpppod.workers.process.worker import CommandError, Process, Report
from cpppod.workers.values import ValueCache
from cpppod.workers.web.access import Access, AccessError, Failures, Users, now_s
from cpppod.workers.web.application import Application
from cpppod.workers.web.control_link import ControlLink, Shared
from cpppod.workers.web.guard import Guard
from cpppod.workers.web.live import Hub
from cpppod.workers.web.monitor import Monitor
from cpppod.workers.web.server import WebServer, tls_context
from cpppod.workers.web.site import Site

CONTROL_SOCKET = "control.sock"
RETRY_S = 2.0  # between two tries to bind, and two looks at the files of TLS
BINDING = ("address", "certificate_file", "key_file")  # with others, browsers connect anew

log = logging.getLogger("cpppod.web")


class Web:
    """The role; its parts are in `site`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._next = process.worker
        self._passwords = IoThread()  # scrypt takes 50 ms a guess: never before a beat
        values = ValueCache()
        link = ControlLink(str(Path(process.worker.runtime_dir) / CONTROL_SOCKET))
        status = Shared(link, "status")
        self.site = Site(
            worker=process.worker,
            values=values,
            link=link,
            status=status,
            monitor=Monitor(status),
            hub=Hub(values),
            access=self._access(process.worker),
            failures=Failures(),
            io=self._passwords.call,
        )
        self._application = Application(self.site, WriteOrders(process))
        self._guard: Guard | None = None
        self._server = WebServer()
        self._bound: tuple[str, ...] = ()
        self._trouble = ""
        self._stamps: tuple[float, ...] = ()
        self._subscription: FeedSubscription | None = None

    def prepare(self, worker: Worker) -> list[str]:
        """Problems with these settings."""
        certificate, key = worker.options["certificate_file"], worker.options["key_file"]
        try:
            if certificate:
                tls_context(certificate, key)
            if users_file := worker.options["users_file"]:
                Users(Path(users_file)).all()
        except (OSError, AccessError) as error:
            return [f"web: {certificate}: {error}" if isinstance(error, OSError) else str(error)]
        self._next = worker
        return []

    def commit(self) -> None:
        """Go over to the settings last prepared."""
        site, worker = self.site, self._next
        site.values.configure(worker)
        if worker.options["users_file"] != site.options["users_file"]:
            site.access = self._access(worker)
            site.access.load()
        site.worker = worker
        self._application.reading.configured()

    def abort(self) -> None:
        """Keep the settings in force."""
        self._next = self.site.worker

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._process.io.call(self.site.access.load)
        self._subscription = FeedSubscription(self._process.bus, self._on_feed)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.site.monitor.run())
                tasks.create_task(self._serve())
        finally:
            self._subscription.close()
            self.site.link.close()
            await self._server.stop()

    def beat(self) -> Report:
        """Whether it is bound, and how much it does."""
        hub, guard = self.site.hub, self._guard
        metrics: list[Any] = [
            ["cpppod_web_streams", {}, len(hub.streams)],
            ["cpppod_web_lost_events_total", {}, hub.lost],
        ]
        for status, count in (guard.counts if guard else {}).items():
            metrics.append(["cpppod_web_refused_total", {"status": str(status)}, count])
        extra: dict[str, Any] = {"address": list(self._server.address)}
        if self._trouble:
            extra["not_ready"] = self._trouble
        overdue = [self._trouble] if self._trouble else []
        return Report(overdue=overdue, metrics=metrics, extra=extra)

    async def command(self, verb: str, arguments: dict[str, Any]) -> Any:
        """Tokens and users, for `cpppoctl`; control has checked who asks.

        Raises:
            CommandError: refused.
        """
        try:
            if verb == "token":
                return self._new_token(arguments)
            if verb == "users":
                return await self._passwords.call(self._users, arguments)
        except (AccessError, IoThreadBusy) as error:
            raise CommandError(str(error)) from None
        raise CommandError(f"{verb}: the web knows token and users")

    def _new_token(self, arguments: dict[str, Any]) -> dict[str, Any]:
        role, once = str(arguments.get("role", "viewer")), bool(arguments.get("once"))
        name = str(arguments.get("name", "") or role)[:40]
        token = self.site.access.new_token(role, name, once=once, now=now_s())
        self.site.monitor.note("user", f"token:{name}", "made", role, by_anybody=True)
        scheme = "https" if self.site.tls else "http"
        page = f"{scheme}://{self.site.options['address']}/"
        return {"token": token, "role": role, "url": f"{page}#token={token}"}

    def _users(self, arguments: dict[str, Any]) -> dict[str, Any]:
        users = self.site.access.users
        if users is None:
            raise AccessError("[web] names no users_file")
        action, name = str(arguments.get("action", "list")), str(arguments.get("name", ""))
        password, role = str(arguments.get("password", "")), str(arguments.get("role", ""))
        if action in ("add", "passwd", "role"):
            users.set(name, password=password, role=role, new=action == "add")
        elif action == "remove":
            users.remove(name)
        elif action != "list":
            raise AccessError(f"{action[:40]!r}: expected add, passwd, role, remove or list")
        return {"users": users.all()}

    def _access(self, worker: Worker) -> Access:
        users_file = worker.options["users_file"]
        users = Users(Path(users_file)) if users_file else None
        return Access(self._process.state, users, self._save)

    def _save(self, write: Callable[[], object]) -> None:
        async def save() -> None:
            try:
                await self._process.io.call(write)
            except IoThreadBusy as error:
                log.error("sessions not kept why=%s", error)

        self._process.spawn(save())

    def _on_feed(self, event: Event) -> None:
        if isinstance(event, Updated):
            self.site.values.apply(event.topic, event.message)
        self.site.hub.on_event(event)
        self.site.monitor.on_feed(event)

    async def _serve(self) -> None:
        """Be at the address configured: over reloads, while it is taken, with new certificates."""
        while True:
            options = self.site.options
            wanted = tuple(options[key] for key in BINDING)
            if wanted != self._bound:
                await self._bind(options, wanted)
            elif self._guard is not None:
                self._guard.hosts = _hosts(options)
            self._renew(options)
            await self._passwords.call(self.site.access.read_users)
            await asyncio.sleep(RETRY_S)

    async def _bind(self, options: dict[str, Any], wanted: tuple[str, ...]) -> None:
        await self._server.stop()
        host, port = socket_address(options["address"], host="", any_port=True)
        certificate, key = options["certificate_file"], options["key_file"]
        try:
            context = tls_context(certificate, key) if certificate else None
            self._guard = Guard(
                self._application, _hosts(options), loopback=is_loopback(host), tls=bool(context)
            )
            self._server.start(self._guard, host, port, context)
        except OSError as error:
            trouble = f"web page at {options['address']}: {error.strerror or error}"
            if trouble != self._trouble:
                log.error("web not bound, retried address=%s why=%s", options["address"], error)
            self._trouble = trouble
            return
        self._server.context, self._stamps = context, _stamps(certificate, key)
        self._trouble, self._bound = "", wanted
        log.info("web page address=%s tls=%s", SocketAddress(*self._server.address), bool(context))

    def _renew(self, options: dict[str, Any]) -> None:
        """Load the files of TLS again, if they are others: connections from now on have them."""
        certificate, key = options["certificate_file"], options["key_file"]
        context, stamps = self._server.context, _stamps(certificate, key)
        if context is None or stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            context.load_cert_chain(certificate, key)
            log.info("web certificate renewed")
        except OSError as error:
            log.error("web certificate not renewed why=%s", error)


def _hosts(options: dict[str, Any]) -> frozenset[str]:
    """Names under which the page is reached."""
    host = socket_address(options["address"], host="", any_port=True).host
    return frozenset(each.lower() for each in (host, *options["hosts"]))


def _stamps(*paths: str) -> tuple[float, ...]:
    found = []
    for path in filter(None, paths):
        with contextlib.suppress(OSError):
            found.append(os.stat(path).st_mtime)
    return tuple(found)
