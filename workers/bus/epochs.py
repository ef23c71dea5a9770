"""Epochs: one number per life of a publisher, growing even if the clock goes back.

`state_dir/epochs/<publisher>` holds `1 <epoch>`: the file's schema version, and the last epoch
given out. An epoch is the larger of that one + 1 and the wall clock in milliseconds, so that it
grows also when the state directory was lost.
"""

import os
import pathlib
import secrets

SCHEMA = 1
MAX_JUMP = 2**20  # milliseconds, 17 minutes: two lives rarely meet, and 2**53 stays far off
MAX_EPOCH = 2**53 - 1  # every language can say it


class EpochError(Exception):
    """The stored epoch cannot be used; the text says which file, and why."""


def next_epoch(state_dir: str | os.PathLike[str], publisher: str, now_ms: int) -> int:
    """The epoch of this life of `publisher`; stored before it is returned.

    Raises:
        EpochError: written by a newer version.
        OSError: the directory cannot be written.
    """
    folder = pathlib.Path(state_dir) / "epochs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / publisher
    epoch = min(max(_stored(path) + 1, now_ms), MAX_EPOCH)
    temporary = folder / f".{publisher}.new"
    with open(temporary, "w", encoding="ascii") as file:
        file.write(f"{SCHEMA} {epoch}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return epoch


def unused_epoch(state_dir: str | os.PathLike[str], publisher: str, now_ms: int) -> int:
    """The epoch of this life of `publisher`: one that no life had, by all that can be known.

    Where the clock is behind the stored one, the number after that may have been another life's
    since: the state directory may be an old copy. So it jumps.

    Raises:
        EpochError, OSError: as `next_epoch`.
    """
    epoch = next_epoch(state_dir, publisher, now_ms)
    if epoch > now_ms:
        epoch = next_epoch(state_dir, publisher, epoch + secrets.randbelow(MAX_JUMP))
    return epoch


def _stored(path: pathlib.Path) -> int:
    """The last epoch given out; 0 if there is none that can be read."""
    try:
        words = path.read_text(encoding="ascii").split()
        schema, epoch = int(words[0]), int(words[1])
    except (FileNotFoundError, ValueError, IndexError):
        return 0  # torn by a power loss: the clock alone decides
    if schema > SCHEMA:
        raise EpochError(f"{path}: schema {schema} is newer than this version's {SCHEMA}")
    return epoch
