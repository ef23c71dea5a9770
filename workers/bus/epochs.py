"""Epochs: one number per life of a publisher, growing even if the clock goes back.

`state_dir/epochs/<publisher>` holds `1 <epoch>`: the file's schema version, and the last epoch
given out. An epoch is the larger of that one + 1 and the wall clock in milliseconds, so that it
grows also when the state directory was lost.
"""

import secrets

from cpppod.workers.state import StateDirectory

SCHEMA = 1
MAX_JUMP = 2**20  # milliseconds, 17 minutes: two lives rarely meet, and 2**53 stays far off
MAX_EPOCH = 2**53 - 1  # every language can say it


class EpochError(Exception):
    """The stored epoch cannot be used; the text says which file, and why."""


def unused_epoch(state: StateDirectory, publisher: str, now_ms: int) -> int:
    """The epoch of this life of `publisher`: one that no life had, by all that can be known.

    It is stored before it is returned, where it can be. Where the clock is behind the stored one,
    the number after that may have been another life's since: the state directory may be an old
    copy, or one that nothing can be written to. So it jumps.

    Raises:
        EpochError: written by a newer version.
    """
    name = f"epochs/{publisher}"
    epoch = max((state.read(name, lambda data: _parse(data, name)) or 0) + 1, now_ms)
    if epoch > now_ms:
        epoch += 1 + secrets.randbelow(MAX_JUMP)
    epoch = min(epoch, MAX_EPOCH)
    state.write(name, f"{SCHEMA} {epoch}\n".encode("ascii"))
    return epoch


def _parse(data: bytes, name: str) -> int:
    """The last epoch given out. Raises ValueError or LookupError where that is not said."""
    words = data.decode("ascii").split()
    schema, epoch = int(words[0]), int(words[1])
    if schema > SCHEMA:
        raise EpochError(f"{name}: schema {schema} is newer than this version's {SCHEMA}")
    if not 0 <= epoch < MAX_EPOCH - MAX_JUMP:  # else there is no larger one for the next life
        raise ValueError(f"{epoch} is no epoch")
    return epoch
