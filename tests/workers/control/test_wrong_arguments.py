"""Whatever stands in a verb's arguments, the answer is a line that says why, and the peer stays."""

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.known_gateway import KnownGateway, known_gateway, served
from tests.patience import PATIENCE_S

VERBS: dict[str, dict[str, Any]] = {  # verb -> its arguments, with one of the right kind
    "status": {},
    "devices": {},
    "device": {"name": "boiler"},
    "tags": {"patterns": ["boiler"]},
    "read": {"tags": ["boiler.setpoint"]},
    "routes": {},
    "outlets": {},
    "configuration": {},
    "token": {"role": "viewer", "name": "x", "once": True},
    "users": {"action": "list", "name": "x", "password": "y", "role": "viewer"},
    "history": {"tag": "boiler.setpoint", "since_us": 0, "until_us": 1, "step_us": 1, "limit": 3},
    "gateway": {},
    "adopt": {"id": "gw-1"},
    "write": {"writes": [["boiler.setpoint", 1.5], ["boiler.recipe[1]", [1, 2]], ["SCADA", 4]]},
    "pause": {"device": "boiler"},
    "resume": {"device": "boiler"},
    "probe": {"device": "boiler"},
    "restart": {"worker": "poller-press"},
    "log": {"level": "info", "worker": "feed"},
    "audit": {
        "limit": 5,
        "tag": "boiler*",
        "since_us": 0,
        "user": "x",
        "outcome": "done",
        "verify": 0,
        "newest": {"control": [1, "00"]},
    },
}
NASTY: list[Any] = [
    *(None, True, -1, 0, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), float("-inf")),
    *("", "*", "a" * 500, "\ud800", "\0", "1e400", "nan", "0x", "[1", "[]", "[[[[1]]]]", "§"),
    *([], {}, [[]], [None], [[None]], [["SCADA"]], {"a": 1}, {"": []}, [[[[[[[[[[[1]]]]]]]]]]]),
]
anything = st.recursive(
    st.sampled_from(NASTY),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
targets = st.sampled_from(
    ["SCADA", "boiler.setpoint", "boiler.recipe", "boiler.recipe[3]", "SCADA[9]"]
)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A request in which one argument, or what is written, is of another kind."""
    verb = draw(st.sampled_from(sorted(VERBS)))
    arguments = dict(VERBS[verb])
    if verb == "write" and draw(st.booleans()):
        return {"verb": verb, "arguments": {"writes": [[draw(targets), draw(anything)]]}}
    for key in arguments:
        if draw(st.booleans()):
            arguments[key] = draw(anything)
    if draw(st.integers(0, 9)) == 0:
        arguments.pop(next(iter(arguments), ""), None)
    return {"verb": verb, "arguments": arguments}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KnownGateway, Path]]:
    path = tmp_path_factory.mktemp("control") / "control.sock"
    known = known_gateway()
    known.answers |= {"gateways": {}, "adopt": {}}
    with served(known, path):
        yield known, path


@given(request=requests())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_wrong_kind_of_argument_is_answered_and_the_connection_stays(
    gateway: tuple[KnownGateway, Path], caplog: pytest.LogCaptureFixture, request: dict[str, Any]
) -> None:
    caplog.clear()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE_S)
        peer.connect(str(gateway[1]))
        lines = peer.makefile("rwb")
        for asked in ({"id": 1, **request}, {"id": 2, "verb": "devices"}):
            lines.write(json.dumps(asked).encode() + b"\n")
            lines.flush()
            answer = json.loads(lines.readline())
            assert answer["id"] == asked["id"]
            assert answer["ok"] or answer["error"]["why"]
    assert not [each for each in caplog.records if each.exc_info or each.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("SCADA", float("nan")),
        ("SCADA", float("inf")),
        ("SCADA", "1e400"),
        ("SCADA", 1e308),
        ("SCADA", 2**31),
        ("SCADA", 0.5),
        ("SCADA", True),
        ("SCADA", [1, None]),
        ("SCADA", {"a": 1}),
        ("boiler.setpoint", float("nan")),
        ("boiler.setpoint", "1e400"),
        ("boiler.setpoint", 10**400),
        ("boiler.recipe", [1, [2]]),
    ],
)
def test_value_of_the_wrong_kind_is_no_value_of_the_tag(
    gateway: tuple[KnownGateway, Path], tag: str, value: Any
) -> None:
    known, path = gateway
    before = len(known.writes_seen) + len(known.orders_seen)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE_S)
        peer.connect(str(path))
        lines = peer.makefile("rwb")
        request = {"verb": "write", "arguments": {"writes": [[tag, value]]}}
        lines.write(json.dumps(request).encode() + b"\n")
        lines.flush()
        answer = json.loads(lines.readline())
    assert answer["error"]["what"] == tag
    assert "expected" in answer["error"]["why"] or " is n" in answer["error"]["why"]
    assert len(known.writes_seen) + len(known.orders_seen) == before
