"""A fleet to break: gateways whose devices count, servers, a collector into PostgreSQL, relays.

    devices.py ─► gateway 1..n ─► relay.py ─► server 1..m ─► relay.py ─► collector ─► PostgreSQL
        └─► served ───────────────────────────────────────────── ledger.py ◄──────────────┘

What each `fault_` does is over when it returns, but for what the fleet has to catch up.
"""

import contextlib
import json
import lzma
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.errors import Error

from cpppod.control_client import ControlError
from tests import peers
from tests.gateway.running import RunningGateway, children, eventually, kill
from tests.nats_server import NatsServer
from tests.ports import free_port
from tests.postgresql_cluster import Cluster

HERE = Path(__file__).parent / "independent"
COUNTING = Path(__file__).parents[1] / "counting" / "independent"
DEVICES = 2  # of each gateway
PERIOD_MS = 100
STREAM = "H_north"
STREAM_SIZE = 1_000_000_000
FILLED = "/filler"
LOSS = (
    "add table inet loss; add chain inet loss in { type filter hook input priority 0; }; "
    "add rule inet loss in tcp dport { %s } numgen random mod 100 < 30 drop"
)


class Servers:
    """The hub's servers, each on a disk of its own; a relay before each."""

    def __init__(self, disks: list[Path]) -> None:
        routes = [free_port() for _ in disks]
        listed = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in routes)
        self.servers: list[NatsServer] = []
        for at, disk in enumerate(disks):
            more = f"server_name: n{at}\n"
            if len(disks) > 1:
                own = f"listen: 127.0.0.1:{routes[at]}, routes: [{listed}]"
                more += f"cluster {{ name: hub, {own} }}\n"
            self.servers.append(NatsServer(disk, more))
        self.relays = [free_port() for _ in disks]
        pairs = [
            f"{relay}={server.port}"
            for relay, server in zip(self.relays, self.servers, strict=True)
        ]
        for server in self.servers:
            server.start()
        self._relay = subprocess.Popen(
            [sys.executable, str(HERE / "relay.py"), *pairs],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._relay.stdout is not None
        self._relay.stdout.readline()

    def urls(self, first: int = 0) -> str:
        """The servers as a gateway names them, `first` before the others."""
        ports = self.relays[first:] + self.relays[:first]
        return json.dumps([f"nats://127.0.0.1:{port}" for port in ports])

    def relay(self, order: str) -> None:
        """Tell all relays."""
        assert self._relay.stdin is not None
        self._relay.stdin.write(order + "\n")
        self._relay.stdin.flush()

    def set_size(self, size: int) -> None:
        """Let the stream take so many bytes."""

        async def update(client: Client) -> None:
            stream = client.jetstream()
            settings = (await stream.stream_info(STREAM)).config
            settings.max_bytes = size
            await stream.update_stream(settings)

        for server in self.servers * 3:
            with contextlib.suppress(Error, OSError, TimeoutError):
                server.with_client(update, connect_timeout=2, allow_reconnect=False)
                return

    def stored_bytes(self) -> int:
        """What the stream has."""

        async def look(client: Client) -> int:
            return int((await client.jetstream().stream_info(STREAM)).state.bytes)

        for server in self.servers:
            with contextlib.suppress(Error, OSError, TimeoutError):
                return server.with_client(look, connect_timeout=2, allow_reconnect=False)
        return STREAM_SIZE

    def close(self) -> None:
        self._relay.kill()
        self._relay.wait()
        for server in self.servers:
            server.kill()


class Fleet:
    """All of it, and what is done to it."""

    def __init__(
        self, disks: list[Path], database: Cluster, folder: Path, seed: int, gateways: int = 4
    ) -> None:
        self.chance = random.Random(seed)
        self.database = database
        self.folder = folder
        self.done: list[str] = []
        self.servers = Servers(disks)
        self.served = folder / "served"
        names = [f"g{at}d{device}" for at in range(gateways) for device in range(DEVICES)]
        self.devices = subprocess.Popen(
            [sys.executable, str(COUNTING / "devices.py"), str(self.served), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.devices.stdout is not None
        ports: dict[str, int] = json.loads(self.devices.stdout.readline())
        self.gateways: list[RunningGateway] = []
        self.texts: dict[RunningGateway, str] = {}
        for at in range(gateways):
            own = {name: port for name, port in ports.items() if name.startswith(f"g{at}d")}
            self._add(self._gateway(at, own))
        self.centre = self._add(self._centre())
        self.gateways.remove(self.centre)
        self.copies: dict[RunningGateway, list[Path]] = {each: [] for each in self.gateways}
        self.dumps: list[Path] = []
        self.disks: list[tuple[NatsServer, Path]] = []

    def begin(self) -> None:
        """Start all gateways, and wait until the first of it is stored."""
        for gateway in self.texts:
            self.start(gateway)
        self.waits_for(lambda: self.outlet(self.centre)["sent"] > 20)

    def _add(self, text: str) -> RunningGateway:
        gateway = RunningGateway()
        gateway.ports |= {port: port for port in range(1024, 65_536)}
        self.gateways.append(gateway)
        self.texts[gateway] = text
        return gateway

    def _head(self, name: str) -> str:
        return (
            f'[gateway]\nname = "{name}"\nid = "gw-{name}"\ncpppo_cfg = false\n'
            '[metrics]\nenabled = false\n[feed]\npublish = ""\n'
            f'[[listener]]\naddress = "127.0.0.1:{free_port()}"\n'
        )

    def _gateway(self, at: int, ports: dict[str, int]) -> str:
        replicas = len(self.servers.servers)
        parts = [
            self._head(f"g{at}"),
            f'[fleet]\nsite = "north"\nservers = {self.servers.urls(at % replicas)}\n'
            f"replicas = {replicas}\nstream_size = {STREAM_SIZE}\n",
        ]
        parts += [
            f'[device.{name}]\ndriver = "modbus-tcp"\naddress = "127.0.0.1:{port}"\nretries = 0\n'
            f'[[device.{name}.group]]\nname = "all"\nperiod = "{PERIOD_MS}ms"\n'
            'tags = [{ name = "n", address = "HR:0", type = "UDINT" }]\n'
            for name, port in ports.items()
        ]
        return "".join(parts)

    def _centre(self) -> str:
        return (
            self._head("centre")
            + f'[collector]\nsites = ["north"]\nservers = {self.servers.urls()}\n'
            f'store = "postgresql"\ndsn = "{self.database.url}"\n'
        )

    # What is asked of it

    def outlet(self, gateway: RunningGateway) -> dict[str, Any]:
        """How its outlet is; nothing of it where it does not say."""
        with contextlib.suppress(ControlError, OSError, IndexError, KeyError):
            found: dict[str, Any] = gateway.ask("outlets")["outlets"][0]
            if "sent" in found:
                return found
        return {"sent": 0, "connected_us": 0, "behind_bytes": -1, "error": "does not say"}

    def states(self) -> list[str]:
        """How each of them is; with the last of its log where it does not say."""
        found = []
        for name, gateway in self.named().items():
            row = self.outlet(gateway)
            told = {key: row.get(key) for key in ("connected_us", "behind_bytes", "sent", "error")}
            found.append(f"{name} {told}")
            if row["error"]:
                found.append(gateway.log.read_text()[-1500:])
        return found

    def named(self) -> dict[str, RunningGateway]:
        return {f"g{at}": each for at, each in enumerate(self.gateways)} | {"centre": self.centre}

    def waits_for(self, ask: Callable[[], Any], within_s: float = 90.0) -> None:
        eventually(ask, within_s=within_s, say=self.states)

    def count(self) -> int:
        """How often the devices were read."""
        return self.served.stat().st_size // 7

    # What is done to it

    def start(self, gateway: RunningGateway) -> None:
        gateway.launch(configuration=self.texts[gateway])

    def kill(self, gateway: RunningGateway) -> None:
        """All of it at once, as losing the power does."""
        assert gateway.process is not None
        everything = [gateway.process.pid]
        for pid in everything:
            everything += children(pid)
        for pid in everything:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        gateway.process.wait()

    def end(self, gateway: RunningGateway) -> None:
        """In good order, or not."""
        if self.chance.random() < 0.5:
            self.kill(gateway)
            return
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.wait(60)

    def worker(self, number: int) -> None:
        gateway = self.chance.choice([*self.gateways, self.centre])
        with contextlib.suppress(ControlError, OSError):
            rows = [row for row in gateway.workers().values() if row["pid"]]
            row = self.chance.choice(rows)
            self.done[-1] += f" {row['name']}"
            kill(row["pid"], number)

    def server(self) -> NatsServer:
        server = self.chance.choice(self.servers.servers)
        self.done[-1] += f" n{self.servers.servers.index(server)}"
        return server

    def fault_kill_a_worker(self) -> None:
        self.worker(signal.SIGKILL)

    def fault_hang_a_worker(self) -> None:
        self.worker(signal.SIGSTOP)
        time.sleep(8.0)

    def fault_end_a_gateway(self) -> None:
        gateway = self.chance.choice([*self.gateways, self.centre])
        self.end(gateway)
        self.start(gateway)

    def fault_kill_a_server(self) -> None:
        server = self.server()
        server.kill()
        time.sleep(self.chance.uniform(0, 4))
        server.start()

    def fault_kill_all_servers(self) -> None:
        for server in self.servers.servers:
            server.kill()
        time.sleep(2.0)
        for server in self.servers.servers:
            server.start()

    def fault_hang_a_server(self) -> None:
        server = self.server()
        server.signal(signal.SIGSTOP)
        time.sleep(8.0)
        server.signal(signal.SIGCONT)

    def fault_delete_a_servers_folder(self) -> None:
        server = self.server()
        server.kill()
        shutil.rmtree(server.folder / "js", ignore_errors=True)
        server.start()

    def fault_copy_a_servers_disk(self) -> None:
        server = self.server()
        server.kill()
        copy = self.folder / f"disk-{len(self.disks)}"
        if (server.folder / "js").exists():
            shutil.copytree(server.folder / "js", copy)
            self.disks.append((server, copy))
        server.start()

    def fault_restore_a_servers_disk(self) -> None:
        if not self.disks:
            self.fault_copy_a_servers_disk()
            time.sleep(3.0)
        server, copy = self.chance.choice(self.disks)
        server.kill()
        shutil.rmtree(server.folder / "js", ignore_errors=True)
        shutil.copytree(copy, server.folder / "js")
        server.start()

    def fault_fill_the_stream(self) -> None:
        self.servers.set_size(self.servers.stored_bytes() + 10_000)
        time.sleep(6.0)
        self.servers.set_size(STREAM_SIZE)

    def fault_fill_a_disk(self) -> None:
        """Of one server or all; a server whose disk was full has to be started again."""
        chosen = [self.server()] if self.chance.random() < 0.5 else self.servers.servers
        mounted = [each for each in chosen if os.path.ismount(each.folder)]
        for server in mounted:
            with contextlib.suppress(OSError), open(f"{server.folder}{FILLED}", "wb", 0) as file:
                while file.write(bytes(65_536)):
                    pass
        time.sleep(6.0)
        for server in mounted:
            os.unlink(f"{server.folder}{FILLED}")
            server.kill()
            server.start()

    def fault_delay(self) -> None:
        self.servers.relay(f"delay {self.chance.uniform(0.2, 1.5):.1f}")
        time.sleep(6.0)
        self.servers.relay("go")

    def fault_silence(self) -> None:
        self.servers.relay("hold")
        time.sleep(self.chance.uniform(2.0, 10.0))
        self.servers.relay("go")

    def fault_cut(self) -> None:
        self.servers.relay("cut")

    def fault_loss(self) -> None:
        """A third of the packets to the servers; only in a network namespace of its own."""
        if os.environ.get("FLEET_NAMESPACE") != "1":
            self.done[-1] += " (not possible here)"
            return
        ports = ", ".join(str(port) for port in self.servers.relays)
        subprocess.run(["nft", LOSS % ports], check=True)
        time.sleep(6.0)
        subprocess.run(["nft", "delete table inet loss"], check=True)

    def fault_kill_the_database(self) -> None:
        self.database.stop()
        time.sleep(1.0)
        self.database.start()

    def fault_hang_the_database(self) -> None:
        self.database.hang()
        time.sleep(8.0)
        self.database.resume()

    def fault_dump_the_database(self) -> None:
        path = self.folder / f"dump-{len(self.dumps)}"
        command = [peers.postgresql("pg_dump"), "--no-owner", "-n", "history", self.database.url]
        dump = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        path.write_bytes(lzma.compress(dump, preset=0))
        self.dumps.append(path)

    def fault_restore_the_database(self) -> None:
        if not self.dumps:
            self.fault_dump_the_database()
            time.sleep(3.0)
        self.kill(self.centre)
        path = self.chance.choice(self.dumps)
        text = b"DROP SCHEMA IF EXISTS history CASCADE;" + lzma.decompress(path.read_bytes())
        command = [peers.postgresql("psql"), "-q", "-v", "ON_ERROR_STOP=1", self.database.url]
        subprocess.run(command, input=text, stdout=subprocess.DEVNULL, check=True)
        self.start(self.centre)

    def fault_copy_a_gateway(self) -> None:
        gateway = self.chance.choice(self.gateways)
        self.end(gateway)
        copy = self.folder / f"state-{gateway.folder.name}-{len(self.copies[gateway])}"
        shutil.copytree(gateway.state, copy)
        self.copies[gateway].append(copy)
        self.start(gateway)

    def fault_restore_a_gateway(self) -> None:
        known = [each for each, copies in self.copies.items() if copies]
        if not known:
            self.fault_copy_a_gateway()
            time.sleep(3.0)
            known = [each for each, copies in self.copies.items() if copies]
        gateway = self.chance.choice(known)
        self.end(gateway)
        shutil.rmtree(gateway.state)
        shutil.copytree(self.chance.choice(self.copies[gateway]), gateway.state)
        self.start(gateway)

    def fault_replace_a_gateway(self) -> None:
        """Another machine of the same id: its state directory is new."""
        gateway = self.chance.choice(self.gateways)
        self.end(gateway)
        shutil.rmtree(gateway.state)
        self.start(gateway)

    def fault_replace_the_centre(self) -> None:
        """Its state directory is new; the database is what it was."""
        self.end(self.centre)
        shutil.rmtree(self.centre.state)
        self.start(self.centre)

    # The end

    def catch_up(self, away_s: float = 12.0) -> float:
        """How many times as fast as they came, messages of an outage are sent after its end."""
        for server in self.servers.servers:
            server.kill()
        time.sleep(away_s)
        for server in self.servers.servers:
            server.start()
        began = time.monotonic()
        self.waits_for(self.is_level)
        return away_s / max(time.monotonic() - began, 0.001)

    def is_level(self) -> bool:
        """Whether nobody is behind by more than is on its way."""
        return all(
            row["connected_us"] and 0 <= row["behind_bytes"] < 8_000
            for row in map(self.outlet, self.gateways)
        )

    def finish(self) -> dict[str, Any]:
        """Serve no more, let all be stored, and sum up."""
        self.waits_for(self.is_level, within_s=150)
        assert self.devices.stdin is not None
        self.devices.stdin.write("freeze\n")
        self.devices.stdin.flush()
        time.sleep(4.0)
        self.waits_for(self.is_stored, within_s=150)
        for gateway in (*self.gateways, self.centre):
            gateway.interrupt(signal.SIGTERM)
        command = [sys.executable, str(COUNTING / "ledger.py"), str(self.served), os.devnull]
        told = subprocess.run(
            [*command, self.database.url], capture_output=True, text=True, check=True
        )
        found: dict[str, Any] = json.loads(told.stdout)
        return found

    def is_stored(self) -> bool:
        """Whether the collector has asked for everything."""
        row = self.outlet(self.centre)
        return bool(row["connected_us"]) and row.get("behind_messages") == 0 and not row["error"]

    def close(self) -> None:
        for gateway in (*self.gateways, self.centre):
            with contextlib.suppress(ProcessLookupError):
                self.kill(gateway)
            gateway.stop()
        self.servers.close()
        self.devices.kill()
        self.devices.wait()
