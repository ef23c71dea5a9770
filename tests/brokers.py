"""An MQTT broker of a test's own, and an ear on it: mosquitto, and a client in a thread."""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests import peers
from tests.patience import PATIENCE_S
from tests.ports import free_port

SETTINGS = """\
listener {port} 127.0.0.1
max_queued_messages 0
max_inflight_messages 0
sys_interval 1
user root
persistence true
persistence_location {folder}/
"""


class Broker:
    """mosquitto on a port of its own.

    Attributes:
        address: host:port.
    """

    def __init__(self, folder: Path, settings: str = "allow_anonymous true\n") -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._file = folder / f"mosquitto-{self.port}.conf"
        self._file.write_text(SETTINGS.format(port=self.port, folder=folder) + settings)
        self._program = peers.program("mosquitto")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Broker":
        """Start it, and wait until it takes connections."""
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            assert self._process.poll() is None, "mosquitto does not start"
            time.sleep(0.01)
        raise AssertionError("mosquitto takes no connections")

    def tell(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()


class Ear:
    """A client that keeps every message: (topic, payload, retained).

    Args:
        name: of a session that the broker keeps while this client is away.
    """

    def __init__(self, address: str, *topics: str, name: str = "") -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._news = threading.Condition()
        self._subscribed = threading.Event()
        self._topics = [(topic, 1) for topic in topics]
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=name, clean_session=not name
        )
        self._client.reconnect_delay_set(0.05, 0.05)  # type: ignore[arg-type]
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        host, _, port = address.rpartition(":")
        self._client.connect(host, int(port))
        self._client.loop_start()
        assert self._subscribed.wait(PATIENCE_S)

    def _on_connect(self, client: Any, *_: Any) -> None:
        client.subscribe(self._topics)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        with self._news:
            self.messages.append((message.topic, message.payload, message.retain))
            self._news.notify_all()

    def wait(self, found: Callable[[list[tuple[str, bytes, bool]]], Any]) -> Any:
        """The first true answer of `found` about the messages so far."""
        with self._news:
            answer = self._news.wait_for(lambda: found(self.messages), PATIENCE_S)
            assert answer, [topic for topic, _, _ in self.messages[-20:]]
            return answer

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1."""
        self._client.publish(topic, payload, 1, retain).wait_for_publish(PATIENCE_S)

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()
