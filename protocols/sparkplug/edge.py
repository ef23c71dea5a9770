"""An edge node's session: births before values, numbers without a hole, deaths that are said.

    will ─► connect ─► births ─► data(device) ... ─► device_death, births again ... ─► death
                         ▲                                │
                         └──────── Rebirth ◄── command ◄──┘

`seq` counts NBIRTH (0), DBIRTH, NDATA, DDATA and DDEATH together, to 255 and on from 0. `bdSeq` is
one for a connection's will and its births, and another for the next connection. Aliases are the
node's own: each metric of a device has one from its birth on, and its name stands in births alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.sparkplug import topics
from cpppod.protocols.sparkplug.payload import DataType, Metric, Payload, decode
from cpppod.protocols.sparkplug.topics import Address

BD_SEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"
QUALITY = "Quality"
GOOD = 192
MAX_MS = 2**48  # milliseconds since 1970, and of the most bytes that they take
LIMIT = 256  # of seq and bdSeq: both go on from 0


class Message(NamedTuple):
    """What to publish; never retained."""

    topic: str
    payload: bytes
    qos: int = 0


class Definition(NamedTuple):
    """A metric of a device."""

    name: str
    datatype: DataType


class Sample(NamedTuple):
    """A value of a metric.

    Attributes:
        value: None where it is bad.
        quality: 192 good, 500 stale, 0 bad.
    """

    name: str
    value: Any
    quality: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Rebirth:
    """A host asks for all births."""


@dataclass(frozen=True, slots=True)
class WriteCommand:
    """A host asks for a device's metric to be written.

    Attributes:
        timestamp_ms: when the host said so; 0 where it did not.
    """

    device: str
    metric: str
    value: Any
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that asks for nothing that there is."""

    reason: str


class _Device:
    """What is said of one device: its metrics, and the quality last told of each."""

    def __init__(self, definitions: Sequence[Definition], first_alias: int) -> None:
        self.types = {each.name: each.datatype for each in definitions}
        self.aliases = {each.name: first_alias + at for at, each in enumerate(definitions)}
        self.qualities: dict[str, int] = {}
        self.born = False

    def metric(self, sample: Sample, *, birth: bool, historical: bool = False) -> Metric:
        """The sample as it is said; its quality where that is news."""
        properties: dict[str, int | str] = {}
        if birth or self.qualities.get(sample.name, GOOD) != sample.quality:
            properties = {QUALITY: sample.quality}
        if not historical:
            self.qualities[sample.name] = sample.quality
        elif sample.quality != GOOD:
            properties = {QUALITY: sample.quality}
        return Metric(
            sample.name if birth else "",
            self.types[sample.name],
            sample.value,
            sample.timestamp_ms,
            alias=self.aliases[sample.name],
            historical=historical,
            properties=properties,
        )


class EdgeNode:
    """The session of one connection; a new connection has a new one.

    Args:
        devices: name -> its metrics.
        bd_seq: of this connection, 0 to 255.

    Attributes:
        room: bytes of a payload that the server takes; 0 any.
    """

    def __init__(
        self, address: Address, devices: Mapping[str, Sequence[Definition]], bd_seq: int
    ) -> None:
        self.address = address
        self.bd_seq = bd_seq % LIMIT
        self.born = False
        self.room = 0
        self._seq = 0
        self._devices: dict[str, _Device] = {}
        alias = 1
        for name, definitions in devices.items():
            self._devices[name] = _Device(definitions, alias)
            alias += len(definitions)

    def subscriptions(self) -> list[str]:
        """Topics of commands to this node and its devices, at QoS 1."""
        return [self.address.of("NCMD"), self.address.of("DCMD", "+")]

    def will(self, now_ms: int) -> Message:
        """What the server says when the connection is lost; also what a clean end says."""
        payload = Payload(now_ms, [self._bd_seq_metric(now_ms)])
        return Message(self.address.of("NDEATH"), payload.encode(), qos=1)

    def _bd_seq_metric(self, now_ms: int) -> Metric:
        return Metric(BD_SEQ, DataType.INT64, self.bd_seq, now_ms)

    def birth(self, now_ms: int) -> Message:
        """The node's birth: `seq` begins again, and every device has yet to be born."""
        self._seq, self.born = 0, True
        for device in self._devices.values():
            device.born = False
        metrics = [
            self._bd_seq_metric(now_ms),
            Metric(REBIRTH, DataType.BOOLEAN, False, now_ms),
        ]
        return self._numbered("NBIRTH", "", metrics, now_ms)

    def device_birth(self, name: str, samples: Iterable[Sample], now_ms: int) -> Message:
        """A device's birth: all its metrics; those of which there is no sample are null.

        Raises:
            EncodeError: a value that its type cannot say.
        """
        device = self._devices[name]
        known = {sample.name: sample for sample in samples}
        metrics = [
            device.metric(known.get(each, Sample(each, None, 0, now_ms)), birth=True)
            for each in device.types
        ]
        message = self._numbered("DBIRTH", name, metrics, now_ms)
        device.born = True
        return message

    def data(
        self, name: str, samples: Iterable[Sample], now_ms: int, *, historical: bool = False
    ) -> list[Message]:
        """A device's samples; nothing where it is not born, or has no such metrics.

        They are in several messages where the server takes no such large one; a value that is too
        large by itself is null, and bad.

        Raises:
            EncodeError: a value that its type cannot say.
        """
        device = self._devices.get(name)
        if device is None or not device.born:
            return []
        metrics = [
            device.metric(sample, birth=False, historical=historical)
            for sample in samples
            if sample.name in device.types
        ]
        return [self._numbered("DDATA", name, part, now_ms) for part in self._parts(metrics)]

    def _parts(self, metrics: list[Metric]) -> list[list[Metric]]:
        if not metrics:
            return []
        if not self.room or len(Payload(MAX_MS, metrics, LIMIT).encode()) <= self.room:
            return [metrics]
        if len(metrics) == 1:
            return [[replace(metrics[0], value=None, properties={QUALITY: 0})]]
        half = len(metrics) // 2
        return self._parts(metrics[:half]) + self._parts(metrics[half:])

    def longest_topic(self) -> str:
        """The longest one that it publishes to."""
        return max((self.address.of("DBIRTH", name) for name in ("", *self._devices)), key=len)

    def device_death(self, name: str, now_ms: int) -> Message | None:
        """That a device is gone; None where it was not there."""
        device = self._devices.get(name)
        if device is None or not device.born:
            return None
        device.born = False
        return self._numbered("DDEATH", name, [], now_ms)

    def is_born(self, name: str) -> bool:
        """Whether a device was born and did not die since."""
        device = self._devices.get(name)
        return device is not None and device.born

    def _numbered(self, kind: str, device: str, metrics: list[Metric], now_ms: int) -> Message:
        data = Payload(now_ms, metrics, self._seq).encode()
        self._seq = (self._seq + 1) % LIMIT
        return Message(self.address.of(kind, device), data)

    def command(self, topic: str, data: bytes) -> list[Rebirth | WriteCommand | Refused]:
        """What a message on one of `subscriptions` asks for, in its order."""
        try:
            name = topics.command_of(topic, self.address)
            payload = decode(data)
        except DecodeError as error:
            return [Refused(str(error))]
        if not name:
            return [_of_node(metric) for metric in payload.metrics]
        device = self._devices.get(name)
        if device is None:
            return [Refused(f"no device {name}")]
        names = {alias: each for each, alias in device.aliases.items()}
        found: list[Rebirth | WriteCommand | Refused] = []
        for metric in payload.metrics:
            known = metric.name or names.get(metric.alias or 0, "")
            if known not in device.types:
                found.append(Refused(f"no metric {metric.name or metric.alias} of {name}"))
            else:
                when = metric.timestamp_ms or payload.timestamp_ms
                found.append(WriteCommand(name, known, metric.value, when))
        return found


def _of_node(metric: Metric) -> Rebirth | Refused:
    if metric.name == REBIRTH and metric.value is True:
        return Rebirth()
    return Refused(f"node command {metric.name or metric.alias}: only {REBIRTH} = true is known")


class PrimaryHost:
    """Whether the primary host is there, by what it says of itself: `{"online", "timestamp"}`.

    What is older than what was said before does not count.
    """

    def __init__(self) -> None:
        self.online = False
        self._timestamp = -1

    def told(self, plain: Any) -> bool:
        """Take a STATE message, its JSON decoded; whether `online` changed.

        Raises:
            DecodeError: it says neither.
        """
        online = plain.get("online") if isinstance(plain, dict) else None
        timestamp = plain.get("timestamp") if isinstance(plain, dict) else None
        if not isinstance(online, bool) or not isinstance(timestamp, int):
            raise DecodeError("STATE says no online and timestamp", status=0)
        if timestamp < self._timestamp:
            return False
        self._timestamp = timestamp
        changed, self.online = online != self.online, online
        return changed
