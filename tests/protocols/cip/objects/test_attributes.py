"""The attribute services, on objects that everybody has and on tags at an address."""

import struct

import pytest

from cpppod.protocols.cip import types
from cpppod.protocols.cip.image import Variable
from cpppod.protocols.cip.objects.attributes import MAX_LISTED
from cpppod.protocols.cip.request import CallNeeded
from tests.enip_frames import request
from tests.protocols.cip.conversation import ask, controller, pending, resumed, words


def test_class_attributes_tell_revision_highest_instance_and_how_many() -> None:
    target = controller()
    assert ask(target, request(0x03, "@0xF5", words(3, 1, 2, 3))).data == words(
        3, 1, 0, 4, 2, 0, 1, 3, 0, 1
    )


def test_list_tells_each_attribute_that_there_is_not() -> None:
    reply = ask(controller(), request(0x03, "@1/1", words(3, 1, 99, 2)))
    assert reply.status == 0x0A
    assert reply.data == words(3, 1, 0, 1, 99, 0x14, 2, 0, 14)


def test_list_tells_the_injected_status_of_one_and_the_values_of_the_others() -> None:
    target = controller()
    target.add_tag(Variable("Bad", types.INT), (0x93, 1, 1))
    target.add_tag(Variable("Good", types.INT), (0x93, 1, 2))
    target.image.variables["good"].set([7])
    target.set_error(target.image.variables["bad"], 0x0C)
    reply = ask(target, request(0x03, "@0x93/1", words(2, 1, 2)))
    assert (reply.status, reply.data) == (0x0A, words(2, 1, 0x0C, 2, 0, 7))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 0x13),
        (b"\1", 0x13),
        (words(2, 1), 0x13),
        (words(MAX_LISTED, *([1] * MAX_LISTED)), 0x00),
        (words(MAX_LISTED + 1, *([1] * (MAX_LISTED + 1))), 0x20),
    ],
)
def test_list_that_is_too_short_or_too_long_is_refused(data: bytes, status: int) -> None:
    assert ask(controller(), request(0x03, "@1/1", data)).status == status


def test_settable_attributes_are_set_one_by_one_until_one_has_no_width() -> None:
    target = controller(writable_identity=True)
    data = words(3, 1, 0x1234) + words(99) + words(2, 0x5678)
    reply = ask(target, request(0x04, "@1/1", data))
    assert reply.status == 0x0A
    assert reply.data == words(2, 1, 0, 99, 0x14)
    assert ask(target, request(0x0E, "@1/1/1")).data == words(0x1234)
    assert ask(target, request(0x0E, "@1/1/2")).data == words(14)


def test_set_list_of_a_read_only_attribute_says_not_settable() -> None:
    reply = ask(controller(), request(0x04, "@1/1", words(1, 1, 0x1234)))
    assert (reply.status, reply.data) == (0x0A, words(1, 1, 0x0E))


def test_set_list_from_who_may_not_write_changes_nothing() -> None:
    target = controller(writable_identity=True)
    reply = ask(target, request(0x04, "@1/1", words(2, 1, 5, 2, 6)), may_write=False)
    assert (reply.status, reply.data) == (0x0A, words(2, 1, 0x0F, 2, 0x0F))
    assert ask(target, request(0x0E, "@1/1/1")).data == words(1)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_set_list_that_is_cut_short_sets_nothing_at_all(cut: int) -> None:
    target = controller(writable_identity=True)
    data = words(2, 1, 0x1234, 2, 0x5678)[:-cut]
    assert ask(target, request(0x04, "@1/1", data)).status == 0x13
    assert ask(target, request(0x0E, "@1/1/1")).data == words(1)


@pytest.mark.parametrize(
    ("data", "status"), [(b"\1", 0x13), (words(MAX_LISTED + 1), 0x20), (words(0), 0)]
)
def test_set_list_of_a_senseless_count_is_refused(data: bytes, status: int) -> None:
    assert ask(controller(), request(0x04, "@1/1", data)).status == status


def test_attribute_takes_exactly_its_bytes() -> None:
    target = controller(writable_identity=True)
    assert ask(target, request(0x10, "@1/1/1", b"\5")).status == 0x13
    assert ask(target, request(0x10, "@1/1/1", b"\5\0\0")).status == 0x15
    assert ask(target, request(0x10, "@1/1/1", b"\5\0"), may_write=False).status == 0x0F
    assert ask(target, request(0x10, "@1/1/1", b"\5\0")).status == 0
    assert ask(target, request(0x0E, "@1/1/1")).data == b"\5\0"
    assert ask(controller(), request(0x10, "@1/1/1", b"\5\0")).status == 0x0E


def test_reply_that_does_not_fit_is_refused_and_never_cut() -> None:
    target = controller()
    name = len(ask(target, request(0x0E, "@1/1/7")).data)
    everything = len(ask(target, request(0x01, "@1/1")).data)
    listed = request(0x03, "@1/1", words(1, 7))
    assert ask(target, request(0x0E, "@1/1/7"), capacity=name + 4).status == 0
    assert ask(target, request(0x0E, "@1/1/7"), capacity=name + 3).status == 0x11
    assert ask(target, request(0x01, "@1/1"), capacity=everything + 4).status == 0
    assert ask(target, request(0x01, "@1/1"), capacity=everything + 3).status == 0x11
    assert ask(target, listed, capacity=name + 10).status == 0
    assert ask(target, listed, capacity=name + 9).status == 0x11


@pytest.mark.parametrize(
    ("path", "service", "status"),
    [
        ("2001240191014100", 0x0E, 0x04),  # a name behind class and instance
        ("20012401 2001", 0x0E, 0x04),  # a second class
        ("20012401", 0x0E, 0x26),  # no attribute
        ("20012401 3063", 0x0E, 0x14),
        ("20012409 3001", 0x0E, 0x05),
        ("20042401", 0x01, 0x05),
        ("20022401", 0x01, 0x08),  # the Message Router here has none but the tags
        ("20012401", 0x02, 0x08),
        ("20012401", 0x05, 0x08),  # Reset
    ],
)
def test_path_or_service_that_leads_nowhere_is_refused(
    path: str, service: int, status: int
) -> None:
    target = controller()
    for variable in list(target.image.variables.values()):
        target.remove_tag(variable.name)
    assert ask(target, request(service, bytes.fromhex(path))).status == status


def test_element_and_connection_point_are_read_past_and_as_instance() -> None:
    target = controller()
    assert ask(target, request(0x0E, bytes.fromhex("20012c0130012800"))).data == words(1)


class Counter:
    """A user's own object."""

    def __init__(self) -> None:
        self.values = [1, 2]

    def __getitem__(self, key: slice) -> list[int]:
        return self.values[key]

    def __setitem__(self, key: slice, values: list[int]) -> None:
        self.values[key] = values


def test_attribute_that_only_the_users_object_knows_is_not_told_as_zero_among_others() -> None:
    target = controller()
    variable = Variable("Own", types.INT, (2,))
    variable.attribute = Counter()
    target.add_tag(variable, (0x93, 1, 1))
    reply = ask(target, request(0x03, "@0x93/1", words(1, 1)))
    assert (reply.status, reply.data) == (0x0A, words(1, 1, 0x2C))
    everything = pending(target, request(0x01, "@0x93/1"))
    assert isinstance(everything.command, CallNeeded)
    told = resumed(everything, everything.command.call())
    assert (told.status, told.data) == (0, words(1, 2))
    refused = ask(target, request(0x04, "@0x93/1", struct.pack("<4H", 1, 1, 8, 9)))
    assert (refused.status, refused.data) == (0x0A, words(1, 1, 0x0E))
    assert variable.attribute.values == [1, 2]
