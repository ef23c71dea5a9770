"""The Identity object as a configuration makes it."""

from typing import Any

import pytest

from cpppod.protocols.cip.objects.identity import Identity, configured
from cpppod.protocols.model.errors import EncodeError
from tests.enip_frames import request
from tests.protocols.cip.conversation import ask, controller


def test_section_of_a_cpppo_cfg_is_taken_as_it_is() -> None:
    section = {
        "Vendor Number": "1337",
        "Device Type": "43",
        "Product Code Number": "7",
        "Product Revision": "2836",
        "Status Word": "0",
        "Serial Number": "4294967295",
        "Product Name": " Mixer 3 ",
        "State": "3",
        "Configuration Consistency Value": "9",
        "Heartbeat Interval": "255",
        "Colour": "green",
        "vendor": None,
    }
    found = configured(Identity(), section)
    assert found == Identity(1337, 43, 7, 2836, 0, 4294967295, "Mixer 3", 3, 9, 255)


@pytest.mark.parametrize(
    ("section", "revision"),
    [
        ({"revision": "32.11"}, (32, 11)),
        ({"major_revision": 5}, (5, 11)),
        ({"minor_revision": "255"}, (20, 255)),
        ({"major_revision": 1, "minor_revision": 2}, (1, 2)),
        ({"major_revision": None}, (20, 11)),
    ],
)
def test_revision_is_a_number_a_dotted_text_or_its_two_parts(
    section: dict[str, Any], revision: tuple[int, int]
) -> None:
    found = configured(Identity(), section)
    assert (found.major, found.minor) == revision


@pytest.mark.parametrize(
    "section",
    [
        {"vendor": 65536},
        {"vendor": -1},
        {"vendor": "one"},
        {"vendor": []},
        {"serial": 1 << 32},
        {"state": 256},
        {"heartbeat interval": 256},
        {"revision": "a.b"},
        {"revision": "1.256"},
        {"revision": "1.2.3"},
        {"major revision": 256},
        {"minor revision": "new"},
    ],
)
def test_value_that_its_attribute_cannot_hold_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(EncodeError):
        configured(Identity(), section)


def test_identity_is_written_only_where_the_settings_say_so() -> None:
    target = controller(writable_identity=True)
    assert ask(target, request(0x10, "@1/1/6", b"\1\2\3\4")).status == 0
    assert ask(target, request(0x01, "@1/1")).data == (
        bytes.fromhex("0100 0e00 3600 140b 6031 01020304 14") + b"1756-L61/B LOGIX5561\xff"
    )
