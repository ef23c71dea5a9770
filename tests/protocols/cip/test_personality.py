"""Controllers that a target passes for."""

import pytest

from cpppod.protocols.cip.personality import PERSONALITIES, personality
from cpppod.protocols.model.errors import EncodeError
from tests.enip_frames import read, request, routed
from tests.protocols.cip.conversation import ask, controller


def test_name_is_found_in_any_case_and_another_one_refused() -> None:
    assert personality(" ControlLogix ") is PERSONALITIES["controllogix"]
    with pytest.raises(EncodeError) as caught:
        personality("s7-1500")
    assert "micrologix" in str(caught.value)


@pytest.mark.parametrize("kind", ["micrologix", "slc500", "plc5"])
def test_controllers_of_data_files_know_no_tag_names(kind: str) -> None:
    target = controller(personality=PERSONALITIES[kind])
    assert (ask(target, read("Count")).status, ask(target, read("Nobody")).status) == (4, 4)
    assert ask(target, request(0x4C, "@2/1/1", b"\1\0")).data == b"\xc4\0\0\0\0\0"


@pytest.mark.parametrize("kind", ["micrologix", "slc500", "plc5", "simple"])
def test_devices_that_route_nothing_refuse_a_wrapped_request(kind: str) -> None:
    target = controller(personality=PERSONALITIES[kind])
    assert ask(target, routed(request(0x0E, "@1/1/1"), "1/0")).status == 0x08
