"""Leases as they travel."""

from typing import Any

import pytest

from cpppod.protocols.bus.groups import LIMIT
from cpppod.protocols.bus.leases import Lease, owner_socket
from cpppod.protocols.model.errors import DecodeError

PLAIN: list[Any] = [7, b"\1\1", "poller-press", "press", b"\1\2", 64]


def test_lease_travels_as_a_list_and_fields_that_are_not_known_are_ignored() -> None:
    lease = Lease(7, b"\1\1", "poller-press", "press", b"\1\2", 64)
    assert lease.plain == PLAIN
    assert Lease.decode([*PLAIN, "more"]) == lease


@pytest.mark.parametrize(
    "plain",
    [
        *(7, [], PLAIN[:5], ["7", *PLAIN[1:]], [7, "1/1", *PLAIN[2:]], [True, *PLAIN[1:]]),
        *([0, *PLAIN[1:]], [LIMIT, *PLAIN[1:]], [*PLAIN[:5], 0], [*PLAIN[:5], LIMIT]),
    ],
)
def test_what_is_no_lease_is_refused(plain: Any) -> None:
    with pytest.raises(DecodeError):
        Lease.decode(plain)


def test_socket_of_an_owner_is_short_whatever_its_name_is() -> None:
    assert owner_socket("poller-press") != owner_socket("poller-mixer")
    assert len(owner_socket("p" * 200)) == 14
