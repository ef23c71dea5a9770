"""One blocking connection in many hands: threads, forks, interruptions, targets that stop."""

import contextlib
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from cpppod import client
from cpppod.protocols.enip.encapsulation import Frame
from cpppod.simulator import Settings, Simulator
from tests.client.hostile_target import hostile_target, wrapped
from tests.patience import PATIENCE_S

THREADS = 8
ROUNDS = 60
CALLS = 10_000
ALL = [f"SCADA[{number}]" for number in range(1000)]


@pytest.fixture(scope="module")
def plc() -> Iterator[Simulator]:
    with Simulator(["SCADA=INT[1000]", "Speed=REAL"], Settings(address="127.0.0.1:0")) as running:
        running.target.image.variables["scada"].set(range(1000))
        yield running


@pytest.fixture(params=[client.connector, client.implicit], ids=["unconnected", "connected"])
def connection(request: pytest.FixtureRequest, plc: Simulator) -> Iterator[client.Connector]:
    opened = request.param(*plc.address, timeout=PATIENCE_S)
    yield opened
    opened.close()


Read = Callable[[client.Connector, list[str]], list[Any]]
READS: dict[str, Read] = {
    "process": lambda c, tags: [value[0] for value in c.process(tags, depth=3)[1]],
    "packets": lambda c, tags: [value[0] for value in c.process(tags, multiple=True)[1]],
    "pipeline": lambda c, tags: [result.value[0] for result in c.pipeline(tags, depth=4)],
    "synchronous": lambda c, tags: [result.value[0] for result in c.synchronous(tags)],
    "plans": lambda c, tags: c.read_tags(tags),
    "one plan for all": lambda c, tags: c.read_tags(ALL)[int(tags[0][6:-1]) :][:5],
}


def test_eight_threads_share_one_connection_and_each_gets_its_own_values(
    connection: client.Connector,
) -> None:
    def work(number: int) -> int:
        rights = 0
        for turn in range(ROUNDS):
            first = (number * 97 + turn * 7) % 990
            tags = [f"SCADA[{first + step}]" for step in range(5)]
            read = list(READS.values())[(number + turn) % len(READS)]
            rights += read(connection, tags) == list(range(first, first + 5))
        return rights

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(work, range(THREADS))) == [ROUNDS] * THREADS


def test_a_thread_that_holds_the_connection_keeps_the_others_out(
    connection: client.Connector,
) -> None:
    with ThreadPoolExecutor(1) as pool, connection:
        refused = pool.submit(connection.process, ["Speed"], timeout=0.05)
        with pytest.raises(client.ReplyTimeout, match="another thread holds the connection"):
            refused.result(PATIENCE_S)
        alone = pool.submit(connection.request, b"\x01\x02\x20\x01\x24\x01", timeout=0.05)
        with pytest.raises(client.ReplyTimeout, match="another thread holds the connection"):
            alone.result(PATIENCE_S)
        waits = pool.submit(connection.process, ["SCADA[5]"])
        assert connection.process(["SCADA[6]"]) == (0, [[6]])
        assert not waits.done()
        connection.__exit__(None, None, None)
        assert waits.result(PATIENCE_S) == (0, [[5]])
        connection.__enter__()


def test_a_slow_reply_to_one_thread_does_not_hold_up_another() -> None:
    asked = threading.Event()
    slow: list[Frame] = []

    def answer(frame: Frame, request: bytes) -> bytes:
        if b"Slow" in request:
            slow.append(frame)
            asked.set()
            return b""
        return _reply(frame, 7)

    with hostile_target(answer) as address, ThreadPoolExecutor(1) as pool:
        connection = client.connector(*address, timeout=None)
        waiting = pool.submit(connection.process, ["Slow"])
        assert asked.wait(PATIENCE_S)
        assert connection.process(["Fast"], timeout=PATIENCE_S) == (0, [[7]])
        assert not waiting.done()
        connection.close()
        with pytest.raises(client.CommunicationCeased):
            waiting.result(PATIENCE_S)


def test_each_thread_has_its_own_time_out() -> None:
    with hostile_target(lambda frame, request: b"") as address, ThreadPoolExecutor(2) as pool:
        connection = client.connector(*address, timeout=None)
        endless = pool.submit(connection.process, ["T"])
        for _ in range(3):
            with pytest.raises(client.ReplyTimeout):
                pool.submit(connection.process, ["T"], timeout=0.05).result(PATIENCE_S)
        connection.close()
        with pytest.raises(client.CommunicationCeased, match=r"ended|closed"):
            endless.result(PATIENCE_S)


def test_a_reply_awaited_by_hand_is_not_missed_where_another_thread_reads_it(
    connection: client.Connector,
) -> None:
    def by_hand(number: int) -> list[int]:
        found = []
        for _ in range(ROUNDS):
            with connection:
                connection.read(f"SCADA[{number}]")
                response, _ = client.await_response(connection)  # without limit
            assert isinstance(response, client.Response)
            assert response.reply is not None
            found.append(int.from_bytes(response.reply.data[2:4], "little"))
        return found

    def beside() -> None:
        while not ended.is_set():
            assert connection.process(["SCADA[5]"] * 5, depth=3) == (0, [[5]] * 5)

    ended = threading.Event()
    with ThreadPoolExecutor(THREADS) as pool:
        others = [pool.submit(beside) for _ in range(2)]
        hands = [pool.submit(by_hand, number) for number in range(THREADS - 2)]
        try:
            for number, hand in enumerate(hands):
                assert hand.result(PATIENCE_S) == [number] * ROUNDS
        finally:
            ended.set()
            if not all(hand.done() for hand in hands):
                connection.close()
        for other in others:
            other.result(PATIENCE_S)


def in_a_fork(call: Callable[[], Any]) -> int:
    """The exit status of a child that calls it: 0 where the connection is refused by name."""
    child = os.fork()
    if not child:
        code = 1
        signal.alarm(10)  # a child that waits for its parent's lock is killed
        try:
            call()
        except client.CommunicationCeased as error:
            code = 0 if "open another one" in str(error) else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_fork_is_refused_at_once_while_a_thread_of_its_parent_is_at_work(
    plc: Simulator,
) -> None:
    connection = client.connector(*plc.address, timeout=PATIENCE_S)
    begun = connection.pipeline(["Speed"] * 5, depth=2)
    next(begun)
    locked, done = threading.Event(), threading.Event()

    def at_work() -> None:
        with connection.sharing.lock:
            locked.set()
            done.wait(PATIENCE_S)

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(at_work)
        assert locked.wait(PATIENCE_S)
        calls: list[Callable[[], Any]] = [
            lambda: connection.process(["Speed"]),
            lambda: connection.read_tags(["Speed"]),
            lambda: connection.read("Speed"),
            lambda: connection.readable(1),
            lambda: next(connection),
            lambda: next(begun),
            connection.__enter__,
            connection.identity,
            connection.browse,
            connection.renew,
        ]
        try:
            assert [in_a_fork(call) for call in calls] == [0] * len(calls)
        finally:
            done.set()
        working.result(PATIENCE_S)
    connection.close()


def test_a_fork_is_refused_by_name_and_leaves_its_parent_alone(
    connection: client.Connector,
) -> None:
    child = os.fork()
    if not child:
        code = 1
        try:
            connection.process(["Speed"])
        except client.CommunicationCeased as error:
            code = 0 if "open another one" in str(error) else 2
            connection.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert connection.process(["SCADA[3]"]) == (0, [[3]])


def test_an_interruption_loses_nothing_but_what_was_interrupted() -> None:
    silent = True

    def answer(frame: Frame, request: bytes) -> bytes:
        return b"" if silent else _reply(frame, 7)

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    def interrupted(call: Callable[[list[str]], Any]) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        call(["T"])

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with hostile_target(answer) as address:
            connection = client.connector(*address, timeout=PATIENCE_S)
            for call in (connection.process, lambda tags: list(connection.pipeline(tags))):
                with pytest.raises(KeyboardInterrupt):
                    interrupted(call)
            silent = False
            assert connection.process(["T"], timeout=PATIENCE_S) == (0, [[7]])
            connection.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_target_that_stops_reading_does_not_hold_the_writer() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def register() -> None:
        peer, _ = listener.accept()
        taken.append(peer)
        request = peer.recv(100)
        peer.sendall(Frame(0x65, request[24:28], 5, 0, request[12:20]).encode())

    thread = threading.Thread(target=register)
    thread.start()
    host, port = listener.getsockname()
    connection = client.connector(host, port, timeout=PATIENCE_S)
    thread.join()
    for _ in range(200):
        connection.unconnected_send(bytes(60_000), send_path="")
    with pytest.raises(client.ReplyTimeout):
        connection.process(["T"], timeout=0.1)
    connection.close()
    for open_socket in (*taken, listener):
        open_socket.close()


def _reply(frame: Frame, value: int) -> bytes:
    message = b"\xcc\0\0\0\xc4\0" + value.to_bytes(4, "little")
    data = bytes(6) + b"\2\0\0\0\0\0\xb2\0" + len(message).to_bytes(2, "little") + message
    return Frame(0x6F, data, frame.session, 0, frame.context).encode()


class Shared:
    """The connection that everybody uses; whoever finds it ended opens the next."""

    def __init__(self, kind: type[client.Connector], address: tuple[str, int]) -> None:
        self._open = partial(kind, *address, timeout=PATIENCE_S)
        self._lock = threading.Lock()
        self.now = self._open()

    def after(self, ended: client.Connector) -> None:
        with self._lock:
            if self.now is ended:
                self.now = self._open()


def one_call(shared: Shared, number: int) -> str:
    """What became of a call that must give five values, every 50th of them in no time."""
    connection = shared.now
    first = number * 97 % 990
    tags = [f"SCADA[{first + step}]" for step in range(5)]
    expected = list(range(first, first + 5))
    try:
        if not number % 50:
            read = [value[0] for value in connection.process(tags, timeout=1e-4)[1]]
        else:
            read = list(READS.values())[number % 5](connection, tags)
    except client.ReplyTimeout:
        return "time-out" if not number % 50 else "late"
    except client.CommunicationCeased:
        shared.after(connection)
        return "ended"
    return "right" if read == expected else "wrong"


def disturb(shared: Shared) -> None:
    """Call until Ctrl-C comes somewhere in it; then a fork tries its parent's connection."""
    with contextlib.suppress(KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        while True:
            assert one_call(shared, 1) in ("right", "ended")
    child = os.fork()
    if not child:
        code = 1
        try:
            shared.now.process(["Speed"])
        except client.CommunicationCeased:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [client.connector, client.implicit])
def test_ten_thousand_calls_amid_forks_interruptions_and_time_outs_are_none_lost_or_hung(
    plc: Simulator, kind: type[client.Connector]
) -> None:
    shared = Shared(kind, plc.address)

    def work(thread: int) -> Counter[str]:
        numbers = range(thread * CALLS // THREADS, (thread + 1) * CALLS // THREADS)
        return Counter(one_call(shared, number) for number in numbers)

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    disturbances = 0
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            running = [pool.submit(work, thread) for thread in range(THREADS)]
            while not all(future.done() for future in running):
                disturb(shared)
                disturbances += 1
            outcomes = sum((future.result() for future in running), Counter())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    shared.now.close()
    print(dict(outcomes), disturbances)
    assert outcomes.total() == CALLS
    assert not outcomes["wrong"] + outcomes["late"]
    assert disturbances and outcomes["right"] > outcomes["ended"]


def test_threads_take_turns_at_a_target_that_sends_no_sender_context_back() -> None:
    """Each has the reply to its own request: by order, so one at a time."""

    def answer(frame: Frame, request: bytes) -> bytes:
        bare = Frame(frame.command, frame.data, frame.session)
        return wrapped(bare, b"\xcc\0\0\0\xc4\0" + request[4:8])

    with (
        hostile_target(answer, echoes=False) as (host, port),
        contextlib.closing(client.Connector(host, port, timeout=PATIENCE_S)) as connection,
        ThreadPoolExecutor(4) as threads,
    ):

        def ask(number: int) -> bytes:
            name = b"T%03d" % number
            request = b"\x4c\3\x91\4" + name + b"\1\0"
            reply = connection.request(request)
            return reply.data[2:]

        told = list(threads.map(ask, range(200)))
    assert told == [b"T%03d" % number for number in range(200)]


def test_a_thread_waits_for_its_turn_no_longer_than_its_time_out() -> None:
    asked = threading.Event()

    def answer(frame: Frame, request: bytes) -> bytes:
        asked.set()
        return b""

    with (
        hostile_target(answer, echoes=False) as (host, port),
        contextlib.closing(client.Connector(host, port, timeout=1.0)) as connection,
        ThreadPoolExecutor(1) as threads,
    ):
        first = threads.submit(connection.request, b"\x4c\1\x91\1\1\0", timeout=1.0)
        assert asked.wait(PATIENCE_S)
        with pytest.raises(client.ReplyTimeout):
            connection.request(b"\x4c\1\x91\1\1\0", timeout=0.1)
        with pytest.raises(client.ReplyTimeout):
            first.result(PATIENCE_S)
