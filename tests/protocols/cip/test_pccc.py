"""PCCC commands on data files, byte for byte as clients send them."""

import pytest

from cpppod.protocols.cip.image import Image
from cpppod.protocols.cip.objects.pccc import PcccFiles, declared_file
from cpppod.protocols.cip.request import Origin
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.model.errors import EncodeError

REQUESTER = "07 4d00 a14ec330"


def ask(files: PcccFiles, command: str, *, may_write: bool = True) -> bytes:
    """What follows the requester's id in the reply."""
    origin = Origin(Image(), may_write=may_write)
    reply = files.execute(bytes.fromhex(REQUESTER + command), origin)
    assert reply[:7] == bytes.fromhex(REQUESTER)
    return reply[7:]


def typed(files: PcccFiles, parameters: str, **options: bool) -> bytes:
    return ask(files, "0f00 3412" + parameters, **options)


OK = bytes.fromhex("4f003412")


def test_words_written_with_a_mask_are_read_back() -> None:
    files = PcccFiles("1747-L552/C")
    assert typed(files, "ab 02 07 89 01 00 ffff 0500") == OK
    assert typed(files, "ab 02 07 89 01 00 0800 0800") == OK
    assert typed(files, "a2 02 07 89 01 00") == OK + b"\x0d\0"


def test_long_address_fields_and_sub_elements_are_understood() -> None:
    files = PcccFiles("1747-L552/C", ["T4[300]"])
    assert typed(files, "aa 02 04 86 ff0401 01 6400") == OK
    assert typed(files, "a2 06 04 86 ff0401 00") == OK + bytes.fromhex("000064000000")


def test_plc5_word_ranges_and_bits() -> None:
    files = PcccFiles("1785-L40E/F")
    assert typed(files, "00 0000 0200 06 07 0a 01000200") == OK
    assert typed(files, "01 0000 0200 06 07 0a 04") == OK + bytes.fromhex("01000200")
    assert typed(files, "26 06 07 0a fffe 0040") == OK
    assert typed(files, "01 0000 0100 06 07 0a 02") == OK + bytes.fromhex("0140")


def test_typed_read_describes_its_data() -> None:
    files = PcccFiles("1756-L61")
    reply = typed(files, "68 0000 0200 06 07 00 0200")
    assert reply.startswith(OK)
    assert reply.endswith(bytes(4))


def test_processor_tells_its_catalogue_number() -> None:
    reply = ask(PcccFiles("1763-L16BWA"), "0600 0100 03")
    assert reply[:4] == bytes.fromhex("46000100")
    assert reply[9:20] == b"1763-L16BWA"


@pytest.mark.parametrize(
    ("parameters", "reply"),
    [
        ("a2 02 63 89 00 00", "4ff0341206"),  # no file 99
        ("a2 02 07 8a 00 00", "4ff0341206"),  # file 7 is no float file
        ("a2 04 07 89 ff00 01 00", "4ff034120a"),  # element 256 of 256
        ("a2 ff 07 89 00 00", "4ff034120e"),  # longer than a command may be
        ("a2 02", "4ff034120e"),
        ("aa 02 07 89 00 00 01", "4ff034120e"),
        ("77", "4f103412"),
    ],
)
def test_refusal_is_a_pccc_status(parameters: str, reply: str) -> None:
    assert typed(PcccFiles("1747-L552/C"), parameters) == bytes.fromhex(reply)


def test_who_may_not_write_changes_nothing() -> None:
    files = PcccFiles("1747-L552/C")
    refused = typed(files, "aa 02 07 89 00 00 0500", may_write=False)
    assert refused == bytes.fromhex("4ff034120b")
    assert files.files[7].data[:2] == b"\0\0"


def test_request_cut_short_is_a_cip_status() -> None:
    with pytest.raises(CipError):
        PcccFiles("x").execute(b"\7\0", Origin(Image()))


@pytest.mark.parametrize("text", ["N7", "X7[10]", "N300[1]", "N7[0]", "N7[5000]"])
def test_declaration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(EncodeError):
        declared_file(text)
