"""An MQTT outlet: the journals to a broker, as JSON or as an edge node of Sparkplug B."""

from pathlib import Path

import aiomqtt

from cpppod.protocols.model.plant import Worker
from cpppod.workers.journal.source import JournalSource
from cpppod.workers.mqtt.connection import connect, read_settings, reason
from cpppod.workers.mqtt.edge_session import EdgeSession
from cpppod.workers.mqtt.plain_session import PlainSession
from cpppod.workers.outlets.commands import Commands
from cpppod.workers.outlets.delivery import Delivery
from cpppod.workers.outlets.reconfigured import either
from cpppod.workers.process.worker import Process

FILES = ("password_file", "ca_file", "cert_file", "key_file")


class MqttOutlet(Delivery):
    """The role; see the module."""

    troubles = (aiomqtt.MqttError, OSError)

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self._commands = Commands(process, "mqtt")

    def problems(self, worker: Worker) -> list[str]:
        named = [(key, worker.options[key]) for key in FILES if worker.options[key]]
        return [f"{key}: {name}: no such file" for key, name in named if not Path(name).is_file()]

    def addresses(self, worker: Worker) -> list[str]:
        return [worker.options["address"], *worker.options["standby"]]

    def words(self, error: Exception) -> str:
        options = self.worker.options
        asked = options["tls"] and not options["cert_file"] and not self._connected_us
        if asked and isinstance(error.__context__, TimeoutError):
            # by TLS 1.3 a server refuses after the client's part is done: it only hears nothing
            return f"{reason(error)}: does the broker ask for this client's certificate?"
        return reason(error)

    def is_away(self, error: Exception) -> bool:
        under = error.__cause__ or error.__context__  # of the library's own error
        return super().is_away(under if isinstance(under, Exception) else error)

    async def connection(self, worker: Worker, source: JournalSource, address: str) -> None:
        options = worker.options
        settings = await self.process.io.call(read_settings, options)
        client_id = options["client_id"] or f"{worker.gateway}-{worker.name}"
        self._commands.by(address, client_id, allowed=options["commands"])
        make = EdgeSession if options["format"] == "sparkplug" else PlainSession
        session = make(self, worker, source, self._commands)
        await session.prepare()
        try:
            async with connect(options, settings, address, client_id, session.will()) as client:
                self.connected()
                try:
                    await session.run(client)
                finally:
                    await either(session.end(client), client.lost())
        finally:
            session.close()
