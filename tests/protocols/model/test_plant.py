"""Records of a plant as plain data, and back."""

from typing import Any

import pytest

from cpppod.protocols.model.errors import DecodeError
from cpppod.protocols.model.plant import Device, Group, Tag, Worker, from_plain, to_plain

BOILER = Device(
    "boiler",
    "modbus-tcp",
    "10.0.0.5:502",
    groups=(Group("fast", 0.5, (Tag("pressure", "40001", "REAL"), Tag("pump", "1", "BOOL"))),),
)
WORKER = Worker(
    "poller-boiler",
    "poller",
    "/run/bus",
    "/var/lib",
    "/run",
    devices=(BOILER,),
    owners={"boiler": "poller-boiler"},
    options={"threads": (1, 2), "nested": {"depth": 3}},
)


def test_record_comes_back_as_it_was_and_defaults_are_left_out() -> None:
    plain = to_plain(WORKER)
    assert from_plain(Worker, plain) == Worker(
        *(WORKER.name, WORKER.role, WORKER.bus_dir, WORKER.state_dir, WORKER.runtime_dir),
        devices=(BOILER,),
        owners=WORKER.owners,
        options={"threads": [1, 2], "nested": {"depth": 3}},
    )
    (group,) = plain["devices"][0]["groups"]
    assert group["tags"][1] == {"name": "pump", "address": "1", "type": "BOOL"}


def test_keys_of_a_newer_version_are_ignored() -> None:
    plain = to_plain(BOILER) | {"colour": "green"}
    assert from_plain(Device, plain) == BOILER


@pytest.mark.parametrize(
    "plain",
    [None, [], "boiler", {}, {"name": "boiler"}, to_plain(BOILER) | {"groups": 5},
     to_plain(BOILER) | {"groups": [5]}, to_plain(BOILER) | {"groups": [{"name": "fast"}]},
     to_plain(BOILER) | {"groups": None}],
    ids=repr,
)  # fmt: skip
def test_what_is_no_such_record_is_refused(plain: Any) -> None:
    with pytest.raises(DecodeError):
        from_plain(Device, plain)


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        (Tag("t", "1", "INT"), "INT"),
        (Tag("t", "1", "INT", scale=0.1), "REAL"),
        (Tag("t", "1", "INT", offset=-40.0), "REAL"),
        (Tag("t", "1", "INT", bit=3), "BOOL"),
        (Tag("t", "1", "INT", scale=0.1, value_type="LREAL"), "LREAL"),
    ],
)
def test_clients_see_a_tag_in_the_type_that_its_values_have(tag: Tag, kind: str) -> None:
    assert tag.cip_type == kind
