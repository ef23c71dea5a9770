"""ListIdentity, ListServices and the legacy command: real answers, and cut ones."""

from dataclasses import replace

import pytest

from cpppod.protocols.enip.cpf import Item, ItemType
from cpppod.protocols.enip.discovery import (
    IdentityItem,
    LegacyItem,
    ServiceItem,
    decode_identities,
    encode_list,
)
from cpppod.protocols.model.errors import DecodeError

# a ControlLogix' answer as cpppo documents it: vendor 1, type 14, code 54, revision 20.11
ANSWER = bytes.fromhex(
    "0100 0c00 3600 0100 0002af12 0a000005 0000000000000000 0100 0e00 3600 140b 6031 1a066c00"
    "14 313735362d4c36312f42204c4f47495835353631 ff"
)
IDENTITY = IdentityItem(1, 14, 54, 20, 11, 0x3160, 0x6C061A, "1756-L61/B LOGIX5561", 0xFF)


def test_identity_of_a_controller_is_read_and_written() -> None:
    (found,) = decode_identities(ANSWER)
    assert found == replace(IDENTITY, address="10.0.0.5")
    assert encode_list(found.encode()) == ANSWER


def test_identity_without_its_state_is_of_unknown_state() -> None:
    item = replace(IDENTITY, state=3).encode()
    assert IdentityItem.decode(item).state == 3
    assert IdentityItem.decode(Item(item.type, item.data[:-1])).state == 0xFF


def test_items_of_other_types_are_passed_over() -> None:
    assert decode_identities(encode_list(Item(0x8000, bytes(16)), IDENTITY.encode())) == [IDENTITY]
    assert decode_identities(encode_list()) == []


@pytest.mark.parametrize("size", [0, 1, 32, 33, 52])
def test_identity_that_is_cut_short_is_refused(size: int) -> None:
    with pytest.raises(DecodeError):
        IdentityItem.decode(Item(ItemType.IDENTITY, IDENTITY.encode().data[:size]))


@pytest.mark.parametrize("address", ["localhost", "::1", "10.0.0", "10.0.0.256", "10.0.0.²", ""])
def test_address_that_is_no_ipv4_is_told_as_zeros(address: str) -> None:
    item = replace(IDENTITY, address=address).encode()
    assert item.data[6:10] == bytes(4)


def test_name_is_cut_to_what_its_length_can_say() -> None:
    item = replace(IDENTITY, product_name="€" + "x" * 300).encode()
    assert IdentityItem.decode(item).product_name == "?" + "x" * 254


def test_services_and_the_legacy_answer_survive_encoding() -> None:
    service = ServiceItem(0x0120, "Communications")
    assert ServiceItem.decode(service.encode()) == service
    assert service.encode().data == bytes.fromhex("0100 2001") + b"Communications\0\0"
    legacy = LegacyItem("192.168.100.200")
    assert LegacyItem.decode(legacy.encode()) == legacy
    assert len(legacy.encode().data) == 36


@pytest.mark.parametrize(
    "item", [Item(ItemType.SERVICES, bytes(19)), Item(ItemType.IDENTITY, bytes(20)), Item(0)]
)
def test_service_that_is_cut_short_or_none_is_refused(item: Item) -> None:
    with pytest.raises(DecodeError):
        ServiceItem.decode(item)


@pytest.mark.parametrize(
    "item", [Item(ItemType.LEGACY_IDENTITY, bytes(19)), Item(ItemType.SERVICES, bytes(36))]
)
def test_legacy_answer_that_is_cut_short_or_none_is_refused(item: Item) -> None:
    with pytest.raises(DecodeError):
        LegacyItem.decode(item)
