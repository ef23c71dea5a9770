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
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error, NoRespondersError, NoServersError
from nats.errors import TimeoutError as NatsTimeout

PING_S, PINGS = 2, 2  # a server that is silent so long is gone
ANSWER_S = 5.0  # for an acknowledgement
OLDEST = (2, 14)
HEADERS = 1_024  # bytes that the headers of a message may take, with room to spare
SMALLEST_ROOM = 512
MAX_BATCH = 500  # messages in an atomic batch: the server takes 1,000
SHORT_ACK = 9  # tokens of an acknowledgement's subject without a domain
BATCH_ID, BATCH_AT, BATCH_END = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_OF = "Nats-Expected-Last-Subject-Sequence-Subject"

WRONG_SEQUENCE, KNOWN_ID, NO_STREAM, NO_MESSAGE = 10071, 10201, 10059, 10037
NO_LEADER, NO_CONSUMER = 10008, 10014
WORDS = {  # JetStream's error codes
    10023: "the server's store is full",
    10047: "the server has no room for a stream of that stream_size",
    NO_STREAM: "the stream is gone",
    WRONG_SEQUENCE: "somebody else writes this gateway's history",
    10077: "the stream is full by its limits",
    NO_LEADER: "JetStream has no leader now",
    10174: "the stream takes no batches (allow_atomic)",
    10076: "JetStream is not enabled for this account",
    10039: "JetStream is not enabled for this account",
}


class LinkError(Exception):
    """The link cannot be used, or a request failed; the text says why.

    Attributes:
        code: JetStream's, 0 where it has none.
        away: nobody is there, or nobody leads: it may be there again at any moment.
    """

    def __init__(self, text: str, code: int = 0, *, away: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.away = away or code == NO_LEADER


class Outgoing(NamedTuple):
    """A message of a batch."""

    subject: str
    payload: bytes
    headers: dict[str, str]


class Stored(NamedTuple):
    """A message of a stream, and when its server took it."""

    sequence: int
    headers: dict[str, str]
    time_us: int
    data: bytes


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
    """A connection to one server.

    Attributes:
        room: bytes of a message's body; the server's limit is for the headers too.
    """

    def __init__(self, client: Client, troubles: "asyncio.Queue[LinkError]") -> None:
        self.client = client
        self.room = client.max_payload - HEADERS
        self._troubles = troubles

    async def until_closed(self) -> None:
        """Wait for the connection's end.

        Raises:
            LinkError: always, with the reason.
        """
        raise await self._troubles.get()

    async def request(self, subject: str, payload: bytes = b"") -> dict[str, Any]:
        """The answer to a request of JetStream's own, decoded.

        Raises:
            LinkError: none came, or it is an error.
        """
        return await self._ask(subject, payload, {})

    async def _answer(self, subject: str, payload: bytes, headers: dict[str, str]) -> Msg:
        try:
            return await self.client.request(
                subject, payload, timeout=ANSWER_S, headers=headers or None
            )
        except NoRespondersError:
            told = "nobody answers: no leader, no stream, or no JetStream"
            raise LinkError(told, away=True) from None
        except NatsTimeout:
            raise self._silence(subject) from None
        except Error as error:
            raise LinkError(reason(error)) from None

    async def _ask(self, subject: str, payload: bytes, headers: dict[str, str]) -> dict[str, Any]:
        message = await self._answer(subject, payload, headers)
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

    def _silence(self, subject: str) -> LinkError:
        """Why a request may have had no answer at all."""
        if not self._troubles.empty():
            return self._troubles.get_nowait()
        told = f"no answer on {subject}: a full disk, a stopped server, or no leader"
        return LinkError(told, away=True)

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

    async def last(self, stream: str, subject: str, name: str = "") -> Stored | None:
        """The stream's last message of `subject`, as its leader has it; None where there is none.

        Args:
            name: of a consumer for that alone: the right to make one has the subject in it, the
                right to get messages has not. A replica that is behind may answer it.

        Raises:
            LinkError: nobody says.
        """
        if not name:
            return await self._get(stream, {"last_by_subj": subject})
        await self._delete_consumer(stream, name)
        settings = {
            "name": name,
            "filter_subject": subject,
            "deliver_policy": "last",
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": 10_000_000_000,
        }
        wanted = json.dumps({"stream_name": stream, "config": settings}).encode()
        await self.request(f"$JS.API.CONSUMER.CREATE.{stream}.{name}.{subject}", wanted)
        asked = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"
        try:
            message = await self._answer(asked, b'{"batch": 1, "no_wait": true}', {})
        finally:
            await self._delete_consumer(stream, name)
        headers = dict(message.headers or {})
        if "Status" in headers:
            return None
        sequence = message.metadata.sequence.stream
        return Stored(sequence, headers, taken_us(message.reply), message.data)

    async def _delete_consumer(self, stream: str, name: str) -> None:
        try:
            await self.request(f"$JS.API.CONSUMER.DELETE.{stream}.{name}")
        except LinkError as error:
            if error.code != NO_CONSUMER:
                raise

    async def message(self, stream: str, sequence: int) -> Stored | None:
        """The stream's message of a sequence, as its leader has it; None where there is none.

        Raises:
            LinkError: the leader does not say.
        """
        return await self._get(stream, {"seq": sequence})

    async def _get(self, stream: str, wanted: dict[str, Any]) -> Stored | None:
        try:
            subject = f"$JS.API.STREAM.MSG.GET.{stream}"
            answer = await self.request(subject, json.dumps(wanted).encode())
        except LinkError as error:
            if error.code == NO_MESSAGE:
                return None
            raise
        message = answer["message"]
        headers = _headers(message.get("hdrs", ""))
        data = base64.b64decode(message.get("data", ""))
        return Stored(int(message["seq"]), headers, _time_us(message["time"]), data)

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


def taken_us(reply: str) -> int:
    """When a server took the message that is acknowledged at `reply`."""
    tokens = reply.split(".")
    return int(tokens[7 if len(tokens) == SHORT_ACK else 9]) // 1_000


def _time_us(text: str) -> int:
    """Of RFC 3339 with up to nanoseconds, in UTC, as servers write it."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * 1_000_000 + int(fraction.ljust(6, "0")[:6] or "0")


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
    troubles: asyncio.Queue[LinkError] = asyncio.Queue()

    async def on_error(error: Exception) -> None:
        troubles.put_nowait(_link_error(error))

    async def on_closed() -> None:
        troubles.put_nowait(LinkError("the connection was closed"))

    client = Client()
    try:
        await client.connect(
            server,
            name=name,
            error_cb=on_error,
            closed_cb=on_closed,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # 0 would be for ever, and the default two minutes
            reconnect_time_wait=0.05,  # type: ignore[arg-type]
            connect_timeout=5,
            ping_interval=PING_S,
            max_outstanding_pings=PINGS,
            inbox_prefix=options["inbox"] or "_INBOX",
            tls=tls,
            **_credentials(options, client, encrypted=tls is not None),
        )
        if tls is not None:
            _check_encrypted(client)
    except (TimeoutError, Error, OSError, ValueError) as error:
        if client.is_connected:
            await client.close()
        told = _link_error(error)
        if isinstance(error, NoServersError) and not troubles.empty():
            told = troubles.get_nowait()
        raise told from None
    try:
        version = client.connected_server_version
        if (version.major, version.minor) < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            raise LinkError(f"nats-server {version} is too old: {wanted} or later")
        if client.max_payload < HEADERS + SMALLEST_ROOM:
            raise LinkError(f"the server's max_payload of {client.max_payload} bytes is too small")
        yield Link(client, troubles)
    finally:
        await client.close()


def _credentials(options: Mapping[str, Any], client: Client, *, encrypted: bool) -> dict[str, Any]:
    """Who this is, as the library takes it; the password goes over an encrypted connection alone.

    Raises:
        OSError: the password's file cannot be read.
    """
    found: dict[str, Any] = {}
    if options["credentials_file"]:
        found["user_credentials"] = options["credentials_file"]
    if options["user"]:
        found["user"] = options["user"]
    if options["password_file"]:
        password = Path(options["password_file"]).read_text().strip()

        def ask() -> str:
            if encrypted:
                _check_encrypted(client)
            return password

        found["password"] = ask
    return found


def _check_encrypted(client: Client) -> None:
    """See that the server encrypts: the library goes on in clear text with one that does not.

    Raises:
        ssl.SSLError: it does not.
    """
    if not client._server_info.get("tls_required"):
        raise ssl.SSLError("the server does not encrypt (TLS), and tls = true asks for it")


def _link_error(error: BaseException) -> LinkError:
    refused = isinstance(error, ssl.SSLError)
    away = isinstance(error, OSError) and not refused
    return LinkError(reason(error), away=away or isinstance(error, NoServersError))


def reason(error: BaseException) -> str:
    """Why, in words without the library's own beginnings."""
    if isinstance(error, NoServersError):
        return "no server answers"
    plain = re.sub(r"^nats: |^\[(?:Errno|SSL)[^\]]*\] |\s*\(_ssl\.c:\d+\)$", "", str(error))
    text = plain.strip("'") or type(error).__name__
    if text == "Authorization Violation":
        return "the server refuses this user, or its password"
    return text[:1].lower() + text[1:]
