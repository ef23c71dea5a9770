"""Addresses of polled tags: what they name, and what they may not."""

import pytest

from cpppod.protocols.model.errors import EncodeError
from cpppod.protocols.model.plant import Tag
from cpppod.workers.drivers.enip.spec import SPEC
from cpppod.workers.drivers.enip.tags import tag_access


@pytest.mark.parametrize(
    ("address", "length", "why"),
    [
        ("X=5", 1, "writes"),
        ("X[1-2]=8,9", 2, "writes"),
        ("X=(REAL)1.5", 1, "writes"),
        ("@22/1/1=(INT)3", 1, "writes"),
        ("X[0-4]", 1, "5 elements, the tag 1"),
        ("X*3", 2, "3 elements, the tag 2"),
        ("X[0-4]+8", 5, "byte offset"),
        ("N7:0", 1, "data file"),
        ("B3:2/5", 1, "data file"),
        ("ST9:0", 1, "data file"),
    ],
)
def test_an_address_that_would_do_something_else_is_refused_by_its_key(
    address: str, length: int, why: str
) -> None:
    tag = Tag("x", address, length=length)
    with pytest.raises(EncodeError, match=why):
        tag_access(tag)
    ((key, value, wanted),) = SPEC.check_tag(tag, None)
    assert (key, value) == ("address", address)
    assert why in wanted


@pytest.mark.parametrize(
    ("address", "length"),
    [
        ("X", 1),
        ("X[3]", 1),
        ("X", 10),
        ("X[0-4]", 5),
        ("X.3", 1),
        ("@22/1/1", 1),
        ("Program:Main.Speed[3]", 1),
        ("Local:1:I.Data", 1),
    ],
)
def test_an_address_that_names_what_the_tag_is_passes(address: str, length: int) -> None:
    tag = Tag("x", address, length=length)
    assert tag_access(tag).tag is tag
    assert list(SPEC.check_tag(tag, None)) == []
