"""PCCC commands on data files, byte for byte as clients send them."""

import pytest

from cpppod.protocols.cip.image import Image
from cpppod.protocols.cip.objects.pccc import PcccFiles, declared_file, pccc_class
from cpppod.protocols.cip.request import Origin
from cpppod.protocols.cip.status import CipError
from cpppod.protocols.model.errors import EncodeError
from tests.enip_frames import request
from tests.protocols.cip.conversation import ask as conversation_ask
from tests.protocols.cip.conversation import controller

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


# CMD, FNC and what follows; an address that ends before its fields do is 0x0E


@pytest.mark.parametrize(
    ("parameters", "reply"),
    [
        ("a2 02 07", "4ff034120e"),
        ("a2 02 07 89", "4ff034120e"),
        ("a2 02 07 89 ff00", "4ff034120e"),
        ("a2 02 07 89 00", "4ff034120e"),
        ("a1 02 07 89", "4ff034120e"),
        ("ab 02 07 89 00 00", "4ff034120e"),
        ("ab 02 07 89 00 00 ff", "4ff034120e"),
        ("01 0000", "4ff034120e"),
        ("01 0000 0100", "4ff034120e"),
        ("01 0000 0100 04 0a 02", "4ff0341206"),  # no file among the levels
        ("01 0000 0100 06 07 0a", "4ff034120e"),  # no size
        ("01 0000 0100 06 07 0a 00", "4ff034120e"),
        ("01 0000 0100 06 07 0a f5", "4ff034120e"),  # one beyond what a command carries
        ("01 0000 0100 06 07 ffff00 04", "4ff034120a"),  # runs past the last word
        ("00 0000 0100 06 07 ffff00 01000200", "4ff034120a"),
        ("26 06 07 0a ffff", "4ff034120e"),
        ("26 06 07 ff0001 ffff 0000", "4ff034120a"),
        ("68 0000 0200 06 07 00 02", "4ff034120e"),
        ("68 0000 0200 06 07 00 7b00", "4ff0341207"),  # 246 bytes
        ("68 0000 0200 06 63 00 0100", "4ff0341206"),
        ("67 0000 0200 06 07 00 0100", "4f103412"),
        ("", "4f103412"),
    ],
)
def test_command_that_cannot_be_decoded_or_done_is_refused(parameters: str, reply: str) -> None:
    files = PcccFiles("1785-L40E/F")
    assert typed(files, parameters) == bytes.fromhex(reply)
    assert not any(files.files[7].data)


def test_largest_read_is_answered_and_one_byte_more_is_not() -> None:
    files = PcccFiles("1747-L552/C")
    assert typed(files, "a2 f4 07 89 00 00") == OK + bytes(244)
    assert typed(files, "a2 f5 07 89 00 00") == bytes.fromhex("4ff034120e")
    assert typed(files, "01 0000 7a00 06 07 00 f4") == OK + bytes(244)


@pytest.mark.parametrize("function", ["00", "26", "aa", "ab"])
def test_no_command_that_changes_passes_who_may_not_write(function: str) -> None:
    files = PcccFiles("1747-L552/C")
    given = f"{function} 02 07 89 00 00 ffff 0500"
    assert typed(files, given, may_write=False) == bytes.fromhex("4ff034120b")
    assert not any(files.files[7].data)


def test_command_that_is_not_the_data_files_is_illegal() -> None:
    files = PcccFiles("1747-L552/C")
    assert ask(files, "0100 3412 a2") == bytes.fromhex("41103412")
    assert ask(files, "0600 3412 07") == bytes.fromhex("46103412")


def test_inputs_and_outputs_are_the_same_by_either_number() -> None:
    files = PcccFiles("1747-L552/C")
    assert typed(files, "aa 02 01 8c 03 00 0500") == OK
    assert typed(files, "a2 02 01 83 03 00") == OK + b"\5\0"


def test_short_string_is_written_with_a_mask_as_pycomm3_sends_it() -> None:
    files = PcccFiles("1747-L552/C")
    assert typed(files, "ab 54 09 8d 00 00 ffff 0200 6261") == OK
    assert typed(files, "a2 06 09 8d 00 00") == OK + bytes.fromhex("020062610000")


def test_two_field_read_has_no_sub_element() -> None:
    files = PcccFiles("1747-L552/C")
    assert typed(files, "aa 02 07 89 05 00 0700") == OK
    assert typed(files, "a1 02 07 89 05") == OK + b"\7\0"


@pytest.mark.parametrize(
    ("catalogue", "begin", "row", "size_at"),
    [
        ("1747-L552/C", 79, 10, 0x46),
        ("1761-L16BWA", 93, 8, 0x46),
        ("1763-L16BWA", 233, 10, 0x50),
        ("1766-L32BWA", 233, 10, 0x56),
    ],
)
def test_directory_lies_where_each_processor_has_it(
    catalogue: str, begin: int, row: int, size_at: int
) -> None:
    files = PcccFiles(catalogue, ["N7[10]", "F8[3]"])
    reads = [f"a1 c8 00 01 {element:02x}" for element in range(0, (begin + 9 * row) // 2 + 1, 100)]
    whole = b"".join(typed(files, read)[4:] for read in reads)
    at = begin + 7 * row
    assert whole[at : at + 3] == bytes.fromhex("89 1400")
    assert whole[at + row : at + row + 3] == bytes.fromhex("8a 0c00")
    assert whole[at - row] == 0x81
    assert whole[52] == 9
    assert int.from_bytes(whole[size_at : size_at + 2], "little")


def test_reply_longer_than_its_message_may_be_is_refused_in_cip() -> None:
    target = controller()
    target.add_class(pccc_class("1756-L61"))
    message = request(0x4B, "@0x67/1", bytes.fromhex(REQUESTER + "0f00 3412 a2 f4 07 89 00 00"))
    whole = len(OK) + 7 + 244 + 4
    assert conversation_ask(target, message, capacity=whole).status == 0
    assert conversation_ask(target, message, capacity=whole - 1).status == 0x11
    assert conversation_ask(target, request(0x4B, "@0x67/1", b"")).status == 0x13


def test_file_of_a_sensible_size_is_declared_in_any_case() -> None:
    file = declared_file(" st9[1000] ")
    assert (file.name, file.size, len(file.data)) == ("ST9", 84, 84_000)
    for text in ("ST9[1001]", "N256[1]", "Q7[1]", "N7[1", ""):
        with pytest.raises(EncodeError):
            declared_file(text)
    with pytest.raises(EncodeError):
        pccc_class("1756-L61", ["N7"])
