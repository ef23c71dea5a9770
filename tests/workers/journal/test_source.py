"""Several readers of the journals: each goes on by itself, and what one needs nobody deletes."""

from pathlib import Path

from cpppod.protocols.bus import feed
from cpppod.protocols.bus.journal import Kind, encode_record
from cpppod.protocols.model.plant import Worker
from cpppod.workers.journal.files import JournalLimits, JournalWriter, segments
from cpppod.workers.journal.source import KEEP_S, JournalSource
from cpppod.workers.state import StateDirectory

GROUPS = frozenset({("boiler", "fast")})


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Plant:
    """A publisher's journal, a segment for each block, and the outlets that read it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / "journal" / "poller-boiler"
        self.clock = Clock()
        self._sequence = 0
        limits = JournalLimits(segment_s=0.0, sync_s=0.0)
        self._writer = JournalWriter(self.folder, 5, limits, gateway="gw")
        self._writer.open(0.0)

    def block(self, group: str = "fast") -> None:
        self._sequence += 1
        body = feed.Block(1, ["level"], [self._sequence], 0)
        message = feed.ValueMessage(
            "poller-boiler", 5, self._sequence, 0, 10, 20, 30, feed.Kind.BLOCK, body
        )
        record = encode_record(
            Kind.BLOCK,
            f"boiler/{group}/".encode(),
            message.encode("gw"),
            sequence=self._sequence,
            samples=1,
        )
        self._writer.append(record, float(self._sequence))

    def source(self, name: str, *readers: str, hold_s: float = 0.0) -> JournalSource:
        options = {"readers": [name, *readers]} if readers else {}
        worker = Worker(name, "mqtt", "", str(self.state), "", options=options, gateway="gw")
        state = StateDirectory(self.state)
        return JournalSource(worker, state, GROUPS, monotonic=self.clock, hold_s=hold_s)

    def deliver(self, source: JournalSource) -> list[int]:
        """What a reader delivers now, and keeps."""
        self.clock.now += KEEP_S
        batch = source.read()
        source.done(batch)
        return [reading.sequence for reading in batch.readings]

    def kept(self) -> list[int]:
        return list(segments(self.folder))


def test_a_reader_goes_on_where_it_was_and_reads_over_what_is_not_for_it(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.block()
    plant.block("slow")
    assert plant.deliver(plant.source("mqtt-a")) == [1]
    plant.block()
    assert plant.deliver(plant.source("mqtt-a")) == [3]


def test_what_was_not_delivered_comes_again(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.block()
    source = plant.source("mqtt-a")
    assert [each.sequence for each in source.read().readings] == [1]
    source.back()
    assert plant.deliver(source) == [1]


def test_what_another_reader_needs_is_not_deleted(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    first = plant.source("mqtt-a", "mqtt-b")
    for _ in range(4):
        plant.block()
    plant.deliver(first)
    assert len(plant.kept()) >= 4  # the other one has not said anything yet
    second = plant.source("mqtt-b", "mqtt-a")
    plant.deliver(second)
    plant.block()
    plant.deliver(first)
    assert len(plant.kept()) <= 2


def test_what_a_reader_holds_is_kept_for_so_long_from_its_first_delivery_on(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    holding = plant.source("fleet", "mqtt-a", hold_s=60.0)
    other = plant.source("mqtt-a", "fleet")
    for _ in range(4):
        plant.block()
    before = plant.kept()
    plant.deliver(holding)
    plant.deliver(other)
    assert plant.kept() == before  # delivered by both, and held
    holding.resume("poller-boiler", 0, 0, 0)
    assert plant.deliver(holding) == [1, 2, 3, 4]
    plant.clock.now += 60.0
    plant.block()
    plant.deliver(holding)
    plant.deliver(other)
    assert len(plant.kept()) <= 2
