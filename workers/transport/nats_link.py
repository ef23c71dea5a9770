"""Connections to NATS servers, for uplinks and collectors: settings, troubles in words.

    async with connect(options, server, name) as link:       one server, no silent reconnects
        ack = await link.batch([...])                        all of it, or nothing
        await link.until_closed()

nats-py reconnects by itself and then sends what it had taken meanwhile, stale. Here a connection
ends when it breaks: whoever has it begins anew from what was acknowledged.
"""

import asyncio
import base64
import json
import re
import ssl
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import nats
from nats.aio.client import Client
from nats.errors import Error, NoRespondersError, NoServersError
from nats.errors import TimeoutError as NatsTimeout

PING_S, PINGS = 2, 2  # a server that is silent so long is gone
ANSWER_S = 5.0  # for an acknowledgement
OLDEST = (2, 14)
MAX_BATCH = 500  # messages in an atomic batch: the server takes 1,000
BATCH_ID, BATCH_AT, BATCH_END = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_OF = "Nats-Expected-Last-Subject-Sequence-Subject"

WRONG_SEQUENCE, KNOWN_ID, NO_STREAM, NO_MESSAGE = 10071, 10201, 10059, 10037
WORDS = {  # JetStream's error codes
    10023: "the server's store is full",
    10047: "the server has no room for a stream of that stream_size",
    NO_STREAM: "the stream is gone",
    WRONG_SEQUENCE: "somebody else writes this gateway's history",
    10077: "the stream is full by its limits",
    10008: "JetStream has no leader now",
    10174: "the stream takes no batches (allow_atomic)",
    10076: "JetStream is not enabled for this account",
    10039: "JetStream is not enabled for this account",
}


class LinkError(Exception):
    """The link cannot be used, or a request failed; the text says why.

    Attributes:
        code: JetStream's, 0 where it has none.
    """

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class Outgoing(NamedTuple):
    """A message of a batch."""

    subject: str
    payload: bytes
    headers: dict[str, str]


class Stored(NamedTuple):
    """A message of a stream."""

    sequence: int
    headers: dict[str, str]


def read_tls(options: Mapping[str, Any]) -> ssl.SSLContext | None:
    """What the options' files say of TLS; blocks.

    Raises:
        OSError: a file cannot be read, or (ssl.SSLError) is none of a certificate or key.
    """
    if not options["tls"]:
        return None
    context = ssl.create_default_context(cafile=options["ca_file"] or None)
    if options["cert_file"]:
        context.load_cert_chain(options["cert_file"], options["key_file"])
    return context


class Link:
    """A connection to one server."""

    def __init__(self, client: Client, troubles: "asyncio.Queue[str]") -> None:
        self.client = client
        self._troubles = troubles

    async def until_closed(self) -> None:
        """Wait for the connection's end.

        Raises:
            LinkError: always, with the reason.
        """
        raise LinkError(await self._troubles.get())

    async def request(self, subject: str, payload: bytes = b"") -> dict[str, Any]:
        """The answer to a request of JetStream's own, decoded.

        Raises:
            LinkError: none came, or it is an error.
        """
        return await self._ask(subject, payload, {})

    async def _ask(self, subject: str, payload: bytes, headers: dict[str, str]) -> dict[str, Any]:
        try:
            message = await self.client.request(
                subject, payload, timeout=ANSWER_S, headers=headers or None
            )
        except NoRespondersError:
            raise LinkError("nobody answers: no leader, no stream, or no JetStream") from None
        except NatsTimeout:
            raise LinkError(self._silence(subject)) from None
        except Error as error:
            raise LinkError(reason(error)) from None
        try:
            answer = json.loads(message.data)
        except (ValueError, RecursionError) as error:
            raise LinkError(f"answer on {subject}: {error}") from None
        if not isinstance(answer, dict):
            raise LinkError(f"answer on {subject} is no object")
        if (failed := answer.get("error")) is not None:
            code = int(failed.get("err_code", 0))
            raise LinkError(WORDS.get(code, str(failed.get("description", failed))), code)
        return answer

    def _silence(self, subject: str) -> str:
        """Why a request may have had no answer at all."""
        if not self._troubles.empty():
            return self._troubles.get_nowait()
        return f"no answer on {subject}: a full disk, a stopped server, or no leader"

    async def batch(self, messages: Sequence[Outgoing], *, after: int, of: str) -> int:
        """Publish all of `messages`, at most `MAX_BATCH`, or none; the stream's last sequence then.

        Args:
            after, of: the last sequence that the subjects `of` have in the stream, 0 for none: a
                stale one means that somebody else has written there, and refuses the batch.

        Raises:
            LinkError: nothing of it is stored, or nobody knows.
        """
        name = uuid.uuid4().hex
        expected = {EXPECTED: str(after), EXPECTED_OF: of}
        for at, message in enumerate(messages, 1):
            headers = message.headers | {BATCH_ID: name, BATCH_AT: str(at)} | expected
            expected = {}
            if at == len(messages):
                headers[BATCH_END] = "1"
                answer = await self._ask(message.subject, message.payload, headers)
                return int(answer["seq"])
            try:
                await self.client.publish(message.subject, message.payload, headers=headers)
            except (Error, OSError) as error:
                raise LinkError(reason(error)) from None
        raise LinkError("an empty batch")

    async def last(self, stream: str, subject: str) -> Stored | None:
        """The stream's last message of `subject`, as its leader has it; None where there is none.

        Raises:
            LinkError: the leader does not say.
        """
        wanted = json.dumps({"last_by_subj": subject}).encode()
        try:
            answer = await self.request(f"$JS.API.STREAM.MSG.GET.{stream}", wanted)
        except LinkError as error:
            if error.code == NO_MESSAGE:
                return None
            raise
        message = answer["message"]
        return Stored(int(message["seq"]), _headers(message.get("hdrs", "")))

    async def ensure_stream(self, settings: dict[str, Any]) -> bool:
        """Have a stream; whether it was made now.

        Raises:
            LinkError: there is none, and none can be made.
        """
        name = settings["name"]
        try:
            await self.request(f"$JS.API.STREAM.INFO.{name}")
            return False
        except LinkError as error:
            if error.code != NO_STREAM:
                raise
        await self.request(f"$JS.API.STREAM.CREATE.{name}", json.dumps(settings).encode())
        return True


def _headers(encoded: str) -> dict[str, str]:
    """The headers of a stored message, out of base64."""
    lines = base64.b64decode(encoded).decode(errors="replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip(): value.strip() for name, _, value in pairs}


@asynccontextmanager
async def connect(
    options: Mapping[str, Any], tls: ssl.SSLContext | None, server: str, name: str
) -> AsyncIterator[Link]:
    """A connection to `server`, a `nats://host:port`.

    Raises:
        LinkError: none is to be had, or the server is too old.
    """
    troubles: asyncio.Queue[str] = asyncio.Queue()

    async def on_error(error: Exception) -> None:
        troubles.put_nowait(reason(error))

    async def on_closed() -> None:
        troubles.put_nowait("the connection was closed")

    password = None
    if options["password_file"]:
        password = Path(options["password_file"]).read_text().strip()
    try:
        client = await nats.connect(
            server,
            name=name,
            error_cb=on_error,
            closed_cb=on_closed,
            allow_reconnect=False,
            connect_timeout=5,
            ping_interval=PING_S,
            max_outstanding_pings=PINGS,
            user=options["user"] or None,
            password=password,
            user_credentials=options["credentials_file"] or None,
            inbox_prefix=options["inbox"] or "_INBOX",
            tls=tls,
        )
    except (TimeoutError, Error, OSError) as error:
        told = troubles.get_nowait() if not troubles.empty() else reason(error)
        raise LinkError(told) from None
    try:
        version = client.connected_server_version
        if (version.major, version.minor) < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            raise LinkError(f"nats-server {version} is too old: {wanted} or later")
        yield Link(client, troubles)
    finally:
        await client.close()


def reason(error: BaseException) -> str:
    """Why, in words without the library's own beginnings."""
    if isinstance(error, NoServersError):
        return "no server answers, or it refuses this user"
    text = re.sub(r"^nats: |^\[Errno -?\d+\] ", "", str(error).strip("'")) or type(error).__name__
    return text[:1].lower() + text[1:]
