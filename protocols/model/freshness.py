"""Freshness and block order: whether a block is newer than what is here, and when it is too old.

    BlockOrder   publisher, epoch, sequence   of the last block applied of a group
    Freshness    ... read_at, limit_s         when the whole group was read, how old it may become

    same publisher, later epoch                   applies
    same publisher and epoch, later sequence      applies
    ... the same sequence                         a repeat of the whole group applies, a block not
    another publisher                             applies: the device has changed its owner, and
                                                  epochs of two publishers say nothing of each other

Every reader of values uses this: the image, control, the feed's last values, the joiner.
"""

NEVER = float("inf")


class BlockOrder:
    """The place of a group's last block among its publisher's blocks; publisher "" before it."""

    __slots__ = ("epoch", "publisher", "sequence")

    def __init__(self, publisher: str = "", epoch: int = 0, sequence: int = 0) -> None:
        self.publisher = publisher
        self.epoch = epoch
        self.sequence = sequence

    def admits(self, publisher: str, epoch: int, sequence: int, *, repeat: bool = False) -> bool:
        """Whether this block, or `repeat` of a whole group, is news."""
        if publisher != self.publisher:
            return True
        if epoch != self.epoch:
            return epoch > self.epoch
        return sequence > self.sequence or (repeat and sequence == self.sequence)

    def is_at(self, publisher: str, epoch: int, sequence: int) -> bool:
        """Whether exactly this block was the last one."""
        return (publisher, epoch, sequence) == (self.publisher, self.epoch, self.sequence)

    def reached(self, publisher: str, epoch: int, previous: int) -> bool:
        """Whether nothing is missing before a block whose predecessor is `previous`.

        A block without predecessor (0) names all members, so that nothing can be missing.
        """
        if not previous:
            return True
        known = (self.epoch, self.sequence)
        return publisher == self.publisher and known >= (epoch, previous)

    def take(self, publisher: str, epoch: int, sequence: int) -> None:
        """This block is the last one from now on."""
        self.publisher, self.epoch, self.sequence = publisher, epoch, sequence

    def continue_from(self, other: "BlockOrder") -> None:
        """Go on where `other` stands."""
        self.take(other.publisher, other.epoch, other.sequence)


class Freshness(BlockOrder):
    """A group's place and age.

    Attributes:
        limit_s: age from which it is stale; 0 means never.
        read_at: monotonic second of the last whole read, negative before the first.
    """

    __slots__ = ("limit_s", "read_at")

    def __init__(self, limit_s: float = 0.0) -> None:
        super().__init__()
        self.limit_s = limit_s
        self.read_at = -1.0

    @property
    def expires(self) -> float:
        """The monotonic second from which it is stale; `NEVER` without a limit or a read."""
        if self.read_at < 0 or self.limit_s <= 0:
            return NEVER
        return self.read_at + self.limit_s

    def is_stale(self, now: float) -> bool:
        """Whether it was last read longer ago than its limit."""
        return now >= self.expires

    def age_s(self, now: float) -> float | None:
        """Seconds since the last whole read; None before the first."""
        return None if self.read_at < 0 else max(0.0, now - self.read_at)
