"""JSON of what the bus carries."""

import json

from cpppod.workers.plain_json import encode


def test_value_that_json_cannot_say_is_null() -> None:
    answer = encode({"a": [float("nan"), float("inf"), 1.5], "b": b"\x01\xff"})
    assert json.loads(answer) == {"a": [None, None, 1.5], "b": "01ff"}
