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
) -> AsyncIterator[aiomqtt.Client]:
    """A connection with a clean session.

    Raises:
        aiomqtt.MqttError: none is to be had, or it broke.
    """
    place = socket_address(address)
    is_5 = options["protocol"] == "5"
    version = aiomqtt.ProtocolVersion.V5 if is_5 else aiomqtt.ProtocolVersion.V311
    client = aiomqtt.Client(
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
        yield client


def expiry(options: Mapping[str, Any]) -> Properties | None:
    """What makes a broker drop messages that are older than the section says."""
    if not options["expiry"]:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = max(round(options["expiry"]), 1)
    return properties


async def publish(
    client: aiomqtt.Client, messages: Iterable[Outgoing], properties: Properties | None = None
) -> None:
    """Publish them in their order; all of QoS 1 are acknowledged then.

    Raises:
        aiomqtt.MqttError: the connection broke, or the broker does not acknowledge.
    """
    waiting = iter(messages)

    async def some() -> None:
        for message in waiting:
            await client.publish(
                message.topic, message.payload, message.qos, message.retain, properties
            )

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
