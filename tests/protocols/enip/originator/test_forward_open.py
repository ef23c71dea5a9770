"""Opening a class 3 connection: the large one, the small one, the size that the target says."""

import pytest

from cpppod.protocols.cip.connection_manager import ForwardOpen, ForwardOpenReply
from cpppod.protocols.cip.message_router import MessageRouterReply
from cpppod.protocols.enip.originator.errors import ForwardOpenRefused
from cpppod.protocols.enip.originator.forward_open import (
    ConnectionRequest,
    ForwardOpenExchange,
    numbered,
)
from cpppod.protocols.enip.originator.session import SessionViolated

WANTED = ConnectionRequest(connection_serial=7, originator_serial=9, t_o_id=0x1234)


def asked(opening: ForwardOpenExchange) -> ForwardOpen:
    request = opening.request()
    return ForwardOpen.decode(request[6:], large=request[0] == 0x5B)


def refusal(status: int, *extended: int) -> MessageRouterReply:
    return MessageRouterReply(0xDB, status, extended)


def granted(to_id: int = 0x1234) -> MessageRouterReply:
    reply = ForwardOpenReply(0xABCD, to_id, 7, 0x1234, 9, 2_000_000, 2_000_000)
    return MessageRouterReply(0xDB, 0, (), reply.encode())


def test_the_large_connection_is_tried_first() -> None:
    opening = ForwardOpenExchange(WANTED)
    assert (asked(opening).large, asked(opening).ot.size) == (True, 4000)
    opening.receive(granted())
    assert opening.connection is not None
    assert (opening.connection.o_t_id, opening.connection.o_t_size) == (0xABCD, 3998)


@pytest.mark.parametrize("status", [(0x08,), (0x01, 0x0113), (0x05,)])
def test_a_target_without_it_is_asked_for_the_small_one(status: tuple[int, ...]) -> None:
    opening = ForwardOpenExchange(WANTED)
    opening.receive(refusal(*status))
    assert (asked(opening).large, asked(opening).ot.size) == (False, 500)
    opening.receive(granted())
    assert opening.connection is not None
    assert opening.connection.t_o_size == 498


def test_the_size_that_the_target_names_is_asked_for_once() -> None:
    opening = ForwardOpenExchange(WANTED)
    opening.receive(refusal(0x01, 0x0109, 1000))
    assert (asked(opening).large, asked(opening).ot.size) == (True, 1000)
    opening.receive(refusal(0x01, 0x0109, 900))
    assert (asked(opening).large, asked(opening).ot.size) == (False, 500)
    opening.receive(refusal(0x01, 0x0109, 400))
    assert opening.refused is not None
    assert opening.done


def test_a_success_for_another_connection_is_a_violation() -> None:
    opening = ForwardOpenExchange(WANTED)
    with pytest.raises(SessionViolated):
        opening.receive(granted(to_id=0x9999))
    with pytest.raises(SessionViolated):
        opening.receive(MessageRouterReply(0xDB, 0, (), b"\1\2"))


def test_a_small_connection_that_is_wanted_is_asked_for_at_once() -> None:
    opening = ForwardOpenExchange(ConnectionRequest(size=200))
    assert (asked(opening).large, asked(opening).ot.size) == (False, 200)


def test_closing_names_the_connection() -> None:
    assert ForwardOpenExchange(WANTED).closing()[8:].hex().startswith("0700" + "3412" + "09000000")


def test_refusal_of_every_attempt_is_raised_and_a_grant_is_the_connection() -> None:
    opening = ForwardOpenExchange(ConnectionRequest(size=200, t_o_id=0x1234))
    assert not opening.done
    opening.receive(refusal(0x01, 0x0113))
    with pytest.raises(ForwardOpenRefused, match="out of connections"):
        opening.granted()
    opening = ForwardOpenExchange(WANTED)
    opening.receive(granted())
    assert opening.granted() is opening.connection


def test_numbers_of_a_connection_stay_in_their_fields() -> None:
    made = numbered(WANTED, serial=0x1_0007, originator_serial=1 << 32 | 5, t_o_id=1 << 32 | 6)
    assert (made.connection_serial, made.originator_serial, made.t_o_id) == (7, 5, 6)
