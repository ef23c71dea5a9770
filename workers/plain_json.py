"""JSON of what travels on the bus: what JSON has no word for becomes null, or text."""

import json
import math
from typing import Any


def encode(answer: Any) -> bytes:
    """`answer` as one line; NaN and infinities are null, a structure's bytes hexadecimal."""
    try:
        text = json.dumps(answer, separators=(",", ":"), allow_nan=False, default=_word)
    except ValueError:
        text = json.dumps(_finite(answer), separators=(",", ":"), default=_word)
    return text.encode()


def _word(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
