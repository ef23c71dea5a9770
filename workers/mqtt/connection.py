"""A connection to a broker: aiomqtt's client with the section's settings, its troubles in words.

    async with connect(options, address, client_id, will) as client:
        await publish(client, messages)       QoS 1: all are acknowledged, 256 at once on their way

Nothing reconnects by itself, and a broken connection raises `MqttError` wherever it is used.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cpppod.protocols.model.addresses import socket_address

IN_FLIGHT = 256  # messages on their way, not yet acknowledged
TAKEN_OVER = "Session taken over"
DROPPED_FROM = 0x80  # codes of refusals, by MQTT 5
PREFIX = re.compile(r"^\[(?:Errno|code|SSL)[^\]]*\]\s*")

logging.getLogger("mqtt").setLevel(logging.ERROR)  # it warns of every batch in flight


class Outgoing(NamedTuple):
    """A message to publish."""

    topic: str
    payload: bytes
    retain: bool = False
    qos: int = 1


class Settings(NamedTuple):
    """What a connection needs of the section's options, made on the I/O thread."""

    password: str | None
    tls: ssl.SSLContext | None


class RefusedError(aiomqtt.MqttError):
    """The broker is there and takes something not; the text says what, and why."""


class BrokerClient(aiomqtt.Client):
    """aiomqtt's client, which also knows what the broker said of itself and of messages.

    Attributes:
        largest: packet that the broker takes, in bytes; 0 any (MQTT 5).
        refusals: topic -> why it did not take a message there (MQTT 5).
        last_refused: topic of the last answer, where it was a refusal.
    """

    largest = 0

    def __init__(self, *told: Any, **named: Any) -> None:
        super().__init__(*told, **named)
        self.refusals: dict[str, str] = {}
        self.last_refused = ""

    def refused(self, topic: str) -> RefusedError:
        """What to raise for a topic of `refusals`."""
        return RefusedError(f"the broker refuses {topic}: {self.refusals[topic]}")

    async def lost(self) -> None:
        """Return when there is no connection any more: who waits for an answer need not then."""
        await asyncio.wait([self._disconnected])

    def _on_connect(self, *told: Any, **named: Any) -> None:
        properties = named.get("properties", told[4] if len(told) > 4 else None)
        self.largest = getattr(properties, "MaximumPacketSize", 0)
        super()._on_connect(*told, **named)

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any
    ) -> None:
        self.last_refused = ""
        if reason_code.is_failure:  # the library forgets the message after this call
            self.last_refused = client._out_messages[mid].topic
            self.refusals[self.last_refused] = str(reason_code)
        super()._on_publish(client, userdata, mid, reason_code, properties)


async def subscribe(client: BrokerClient, topics: list[tuple[str, int]]) -> None:
    """Subscribe to topics, each with its QoS.

    Raises:
        RefusedError: the broker refuses one of them. aiomqtt.MqttError: the connection broke.
    """
    codes = await client.subscribe(topics)
    for (topic, _), code in zip(topics, codes, strict=False):
        number: Any = getattr(code, "value", code)
        if number >= DROPPED_FROM:
            raise RefusedError(f"the broker refuses to subscribe {topic}: {code}")


def read_settings(options: Mapping[str, Any]) -> Settings:
    """The files that the options name; blocks.

    Raises:
        OSError: a file cannot be read, or (ssl.SSLError) is none of a certificate or key.
    """
    password = None
    if options["password_file"]:
        password = Path(options["password_file"]).read_text().strip()
    tls = None
    if options["tls"]:
        tls = ssl.create_default_context(cafile=options["ca_file"] or None)
        if options["cert_file"]:
            tls.load_cert_chain(options["cert_file"], options["key_file"])
    return Settings(password, tls)


@asynccontextmanager
async def connect(
    options: Mapping[str, Any],
    settings: Settings,
    address: str,
    client_id: str,
    will: Outgoing | None,
) -> AsyncIterator[BrokerClient]:
    """A connection with a clean session.

    Raises:
        RefusedError: it broke after the broker had refused a message: some brokers do so.
        aiomqtt.MqttError: none is to be had, or it broke.
    """
    place = socket_address(address)
    is_5 = options["protocol"] == "5"
    version = aiomqtt.ProtocolVersion.V5 if is_5 else aiomqtt.ProtocolVersion.V311
    client = BrokerClient(
        place.host,
        place.port,
        identifier=client_id,
        username=options["user"] or None,
        password=settings.password,
        protocol=version,
        clean_session=None if is_5 else True,
        timeout=options["timeout"],
        keepalive=max(round(options["keep_alive"]), 1),
        will=aiomqtt.Will(will.topic, will.payload, will.qos, will.retain) if will else None,
        max_inflight_messages=IN_FLIGHT,
        max_queued_outgoing_messages=0,
        max_queued_incoming_messages=1_000,
        tls_context=settings.tls,
    )
    client.pending_calls_threshold = IN_FLIGHT
    async with client:
        try:
            yield client
        except RefusedError:
            raise
        except aiomqtt.MqttError as error:
            if client.last_refused in client.refusals:
                raise client.refused(client.last_refused) from error
            raise


def expiry(options: Mapping[str, Any]) -> Properties | None:
    """What makes a broker drop messages that are older than the section says."""
    if not options["expiry"]:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = max(round(options["expiry"]), 1)
    return properties


async def publish(
    client: BrokerClient, messages: Iterable[Outgoing], properties: Properties | None = None
) -> None:
    """Publish them in their order; all of QoS 1 are acknowledged then.

    Raises:
        RefusedError: the broker took one of them not, and says so (MQTT 5).
        aiomqtt.MqttError: the connection broke, or the broker does not acknowledge.
    """
    waiting = iter(messages)

    async def some() -> None:
        for message in waiting:
            await client.publish(
                message.topic, message.payload, message.qos, message.retain, properties
            )
            if message.topic in client.refusals:
                raise client.refused(message.topic)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(some())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


def reason(error: BaseException) -> str:
    """Why there is no connection, in words without the library's numbers."""
    if error.__cause__ is not None and TAKEN_OVER in str(error.__cause__):
        error = error.__cause__
    text = PREFIX.sub("", str(error)) or type(error).__name__
    if TAKEN_OVER in text:
        return "another client with this client id took the session over"
    return text[:1].lower() + text[1:]
