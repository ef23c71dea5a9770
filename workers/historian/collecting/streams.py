"""Where a collector goes on in a stream: by what its store has, whatever the server thinks.

The store's position names a message by its sequence and its time. Where that message is there, the
next one follows it. Where it is not (the stream was restored, made anew, or aged), reading begins
at messages of a while before that time: what is stored already is known by its key. A store that
has no position, or an old copy's, begins there too. The durable consumer is made to fit.
"""

import logging
from datetime import UTC, datetime
from typing import Any, NamedTuple

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from cpppod.workers.journal.batch import Cursor
from cpppod.workers.transport.nats_link import Link

logger = logging.getLogger("cpppod.collector")

ACK_WAIT_S = 30.0
IN_HAND = 10_000  # messages that wait for their acknowledgement
MARGIN_US = 30 * 60 * 1_000_000  # servers' clocks differ, and a stream may have been restored


class Start(NamedTuple):
    """From where on a consumer gives messages: behind a sequence, or from a time on; else all."""

    behind: int = 0
    from_us: int = 0


async def start_of(link: Link, stream: str, cursor: Cursor | None) -> Start:
    """Where to go on behind the store's position.

    Raises:
        LinkError: the stream's leader does not say.
    """
    if cursor is None:
        return Start()
    known = await link.message(stream, cursor.offset)
    if known is not None and known.time_us == cursor.gateway_us:
        return Start(behind=cursor.offset)
    logger.warning(
        "the stream is not what it was stream=%s sequence=%d: read again from a while before",
        stream,
        cursor.offset,
    )
    return Start(from_us=max(cursor.gateway_us - MARGIN_US, 1))


async def puller_of(
    stream: JetStreamContext, name: str, subject: str, durable: str, start: Start
) -> JetStreamContext.PullSubscription:
    """The durable consumer's subscription; the consumer is made anew where it is elsewhere.

    Raises:
        NotFoundError: there is no such stream. nats.errors.Error: it cannot be had.
    """
    if not await _fits(stream, name, durable, start):
        policy: dict[str, Any] = {"deliver_policy": DeliverPolicy.ALL}
        if start.behind:
            policy = {
                "deliver_policy": DeliverPolicy.BY_START_SEQUENCE,
                "opt_start_seq": start.behind + 1,
            }
        elif start.from_us:
            policy = {
                "deliver_policy": DeliverPolicy.BY_START_TIME,
                "opt_start_time": datetime.fromtimestamp(start.from_us / 1e6, UTC),
            }
        settings = ConsumerConfig(
            durable_name=durable,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            max_ack_pending=IN_HAND,
            filter_subject=subject,
            **policy,
        )
        await stream.add_consumer(name, settings)
        logger.info("consumer made stream=%s name=%s start=%s", name, durable, start)
    return await stream.pull_subscribe_bind(durable, name)


async def _fits(stream: JetStreamContext, name: str, durable: str, start: Start) -> bool:
    """Whether the consumer is where the store is; one that is elsewhere is removed."""
    try:
        info = await stream.consumer_info(name, durable)
    except NotFoundError:
        await stream.stream_info(name)  # raises, too, where there is no stream
        return False
    floor = info.ack_floor.stream_seq if info.ack_floor else 0
    if start.behind and floor == start.behind and not info.num_ack_pending:
        return True
    await stream.delete_consumer(name, durable)
    return False
