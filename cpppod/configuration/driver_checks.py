"""What only a driver can say of a tag: whether its address and type mean anything to the device.

A driver's modules are imported when the first device that has it is checked: the start of a gateway
does not wait for those that it does not use.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from cpppod.protocols.model.errors import EncodeError, ProtocolError
from cpppod.protocols.model.plant import Tag

Mistakes = Iterator[tuple[str, Any, str]]


def model(driver: str, tables: Mapping[str, Any]) -> str:
    """What is wrong with a device model's keys, "" where nothing is."""
    if not driver.startswith("modbus"):
        return ""
    from cpppod.protocols.modbus.model import Model

    try:
        Model.from_tables(tables)
    except EncodeError as error:
        return str(error)
    return ""


def bit_of(driver: str, address: str) -> int | None:
    """The bit that a tag's address names itself (`40020.3`), None where it names none."""
    if not driver.startswith("modbus"):
        return None
    from cpppod.protocols.modbus.address import parse_address

    try:
        return parse_address(address).bit
    except EncodeError:
        return None


def text(
    model: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Any, list[tuple[str, Any, str]]]:
    """A text device's settings, None if they have mistakes, and these as `tag` has them."""
    from cpppod.protocols.text.formats import check

    return check(model, options)


def tag(driver: str, tag: Tag, tables: Mapping[str, Any], text: Any = None) -> Mistakes:
    """(key, value, expected) of each mistake.

    Args:
        tables: the device's model.
        text: a text device's settings, None where they have mistakes of their own.
    """
    if driver.startswith("modbus"):
        yield from _modbus(tag, zero_based=tables.get("zero_based") is True)
    elif driver == "enip":
        yield from _enip(tag)
    elif text is not None:
        from cpppod.protocols.text.formats import check_tag

        yield from check_tag(text, tag)


def _modbus(tag: Tag, *, zero_based: bool) -> Mistakes:
    from cpppod.protocols.modbus.address import FORMS, parse_address
    from cpppod.protocols.modbus.registers import codec

    try:
        address = parse_address(tag.address, zero_based=zero_based)
    except EncodeError:
        yield "address", tag.address, f"a Modbus address: {FORMS}"
        return
    if tag.writable and not address.table.writable:
        yield "writable", True, f"false: {tag.address} can only be read"
    if address.table.has_bits:
        if tag.type != "BOOL":
            yield "type", tag.type, f"BOOL: {tag.address} holds bits"
        return
    try:
        codec(tag, address.bit)
    except EncodeError as error:
        yield "type", tag.type, f"what lies in registers ({error})"


def _enip(tag: Tag) -> Mistakes:
    from cpppod.protocols.enip.originator.operations import parse_operations

    try:
        list(parse_operations([tag.address]))
    except (ProtocolError, ValueError) as error:
        yield "address", tag.address, f"a tag or attribute of a controller ({error})"
