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
        self._limits = JournalLimits(segment_s=0.0, sync_s=0.0)
        self._writer: JournalWriter | None = None
        self.live(5)

    def live(self, epoch: int) -> None:
        """Begin a life; the one before ends as by a kill."""
        if self._writer is not None:
            self._writer.close()
        self._epoch, self._sequence = epoch, 0
        self._writer = JournalWriter(self.folder, epoch, self._limits, gateway="gw")
        self._writer.open(0.0)

    def block(self, group: str = "fast") -> None:
        self._sequence += 1
        body = feed.Block(1, ["level"], [self._sequence], 0)
        message = feed.ValueMessage(
            "poller-boiler", self._epoch, self._sequence, 0, 10, 20, 30, feed.Kind.BLOCK, body
        )
        record = encode_record(
            Kind.BLOCK,
            f"boiler/{group}/".encode(),
            message.encode("gw"),
            sequence=self._sequence,
            samples=1,
        )
        assert self._writer is not None
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


def told(source: JournalSource) -> list[tuple[int, int, int]]:
    """Gaps and readings that come now: (epoch, first, last); of a reading twice its sequence."""
    found: list[tuple[int, int, int]] = []
    while (batch := source.read()).cursors or batch.readings or batch.gaps:
        found += [(gap.epoch, gap.first, gap.last) for gap in batch.gaps]
        found += [(each.epoch, each.sequence, each.sequence) for each in batch.readings]
        source.done(batch)
    return found


def test_ahead_in_the_life_that_is_written_reading_goes_on(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.block()
    source = plant.source("fleet", hold_s=60.0)
    plant.deliver(source)
    plant.block()
    before = source.position("poller-boiler")
    assert source.resume("poller-boiler", 5, 2, 20) == 0
    assert source.position("poller-boiler") == before


def test_behind_the_place_of_another_life_what_cannot_be_had_is_a_gap(tmp_path: Path) -> None:
    plant = Plant(tmp_path)  # its state directory is new: the other side has a life 4 of before
    plant.block()
    source = plant.source("fleet")
    assert plant.deliver(source) == [1]
    assert source.resume("poller-boiler", 4, 100, 10) == 5
    assert told(source) == [(4, 101, 101), (5, 1, 1)]


def test_an_old_copy_goes_on_behind_the_place_with_a_gap(tmp_path: Path) -> None:
    plant = Plant(tmp_path)  # the copy ends at 2, the other side has up to 9
    plant.block()
    plant.block()
    plant.live(7)
    plant.block()
    source = plant.source("fleet")
    assert source.resume("poller-boiler", 5, 9, 20) == 0
    assert told(source) == [(5, 10, 10), (5, 1, 1), (5, 2, 2), (7, 1, 1)]


def test_another_side_that_lost_everything_gets_all_that_is_held_or_hears_what_is_gone(
    tmp_path: Path,
) -> None:
    plant = Plant(tmp_path)
    for _ in range(3):
        plant.block()
    source = plant.source("fleet", hold_s=60.0)
    assert plant.deliver(source) == [1, 2, 3]
    source.resume("poller-boiler", 0, 0, 0)
    assert told(source) == [(5, 1, 1), (5, 2, 2), (5, 3, 3)]
    plant.block()
    for number in plant.kept()[:2]:
        (plant.folder / f"{number:020d}.journal").unlink()
    source.resume("poller-boiler", 0, 0, 0)
    assert told(source)[0][0] == 0 and told(source) == []
