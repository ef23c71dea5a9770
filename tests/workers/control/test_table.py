"""The table of workers: who is alive, who must be killed, when the gateway is ready."""

from cpppod.protocols.bus.messages import Beat
from cpppod.workers.control.table import (
    FIRST_BEAT_S,
    SILENT_S,
    STORM_EXITS,
    STORM_WINDOW_S,
    Kill,
    WorkerTable,
)

ROLES = {"feed": "feed", "listener-main": "listener", "poller-1": "poller"}


def beat(worker: str, pid: int, **given: object) -> Beat:
    return Beat(worker, pid, 1, 0, str(given.pop("state", "running")), **given)  # type: ignore[arg-type]


def table_of(roles: dict[str, str], now: float = 0.0) -> WorkerTable:
    table = WorkerTable()
    table.expect(roles, now)
    return table


def checked_each_second(table: WorkerTable, start: float, end: float) -> list[tuple[float, Kill]]:
    kills = []
    now = start
    while now <= end:
        kills += [(now, kill) for kill in table.silent(now)]
        now += 1.0
    return kills


def test_first_beat_of_a_process_is_reported_once_so_that_it_is_watched() -> None:
    table = table_of(ROLES)
    assert table.receive_beat("feed", beat("feed", 71), 0.1) == 71
    assert table.receive_beat("feed", beat("feed", 71), 1.1) == 0
    assert table.receive_beat("feed", beat("feed", 72), 2.1) == 72


def test_beat_under_another_name_or_of_an_unknown_worker_changes_nothing() -> None:
    table = table_of(ROLES)
    assert table.receive_beat("poller-1", beat("feed", 71), 0.1) == 0
    assert table.receive_beat("stranger", beat("stranger", 71), 0.1) == 0
    assert table.workers["feed"].beat is None
    assert table.unknown_beats == 2


def test_worker_without_a_beat_for_five_seconds_is_killed_and_not_before() -> None:
    table = table_of({"feed": "feed"})
    table.receive_beat("feed", beat("feed", 71), 0.0)
    kills = checked_each_second(table, 0.5, 6.5)
    at, kill = kills[0]
    assert (at, kill.worker, kill.pid) == (SILENT_S + 0.5, "feed", 71)


def test_worker_that_waits_ten_seconds_but_beats_is_not_killed() -> None:
    table = table_of({"historian": "historian"})
    for second in range(20):
        waiting = beat("historian", 71, blocking_us=second * 1_000_000, overdue=["commit"])
        table.receive_beat("historian", waiting, float(second))
        assert table.silent(second + 0.5) == []


def test_nobody_is_killed_for_a_silence_in_which_control_itself_stood_still() -> None:
    table = table_of({"feed": "feed"})
    table.receive_beat("feed", beat("feed", 71), 0.0)
    assert table.silent(0.5) == []
    assert table.silent(30.0) == []  # thirty seconds stopped: the beats may lie unread
    table.receive_beat("feed", beat("feed", 71), 30.1)
    assert checked_each_second(table, 31.0, 35.0) == []
    assert [kill.worker for _, kill in checked_each_second(table, 36.0, 36.0)] == ["feed"]


def test_process_that_never_beats_is_killed_after_its_longer_grace() -> None:
    table = table_of({"feed": "feed"})
    table.process_seen("feed", 71, 0.0)
    kills = checked_each_second(table, 0.0, FIRST_BEAT_S)
    assert [(at, kill.pid) for at, kill in kills] == [(FIRST_BEAT_S, 71)]


def test_exit_is_counted_by_reason_and_once() -> None:
    table = table_of({"feed": "feed"})
    table.receive_beat("feed", beat("feed", 71), 0.0)
    assert table.process_exited("feed", 71, 1.0)
    assert not table.process_exited("feed", 71, 1.0)
    table.receive_beat("feed", beat("feed", 72), 1.2)
    checked_each_second(table, 1.5, 6.5)
    assert table.process_exited("feed", 72, 6.6)
    assert table.workers["feed"].restarts == {"exit": 1, "watchdog": 1}


def test_restarting_worker_is_neither_killed_nor_alive() -> None:
    table = table_of({"feed": "feed"})
    table.receive_beat("feed", beat("feed", 71), 0.0)
    table.process_exited("feed", 71, 1.0)
    assert checked_each_second(table, 1.0, 30.0) == []
    assert table.workers["feed"].state == "restarting"
    assert not table.workers["feed"].alive


def test_five_exits_in_a_minute_are_a_storm_that_ends_with_the_minute() -> None:
    table = table_of({"feed": "feed"})
    for number in range(STORM_EXITS):
        table.receive_beat("feed", beat("feed", 100 + number), number)
        table.process_exited("feed", 100 + number, number + 0.5)
    assert table.backing_off(5.0) == ["feed"]
    assert table.backing_off(STORM_WINDOW_S + 1.0) == []


def test_gateway_has_started_when_all_have_beaten_and_listeners_are_bound() -> None:
    table = table_of(ROLES)
    table.receive_beat("feed", beat("feed", 71), 0.1)
    table.receive_beat("poller-1", beat("poller-1", 72, state="backing off"), 0.1)
    table.receive_beat("listener-main", beat("listener-main", 73, extra={}), 0.1)
    assert not table.started()
    table.receive_beat(
        "listener-main", beat("listener-main", 73, extra={"address": "127.0.0.1:44818"}), 1.1
    )
    assert table.started()


def test_listener_in_back_off_does_not_hold_up_the_start() -> None:
    table = table_of({"listener-main": "listener"})
    away = beat("listener-main", 73, state="backing off", extra={})
    table.receive_beat("listener-main", away, 0.1)
    assert table.started()
    assert table.backing_off(0.2) == ["listener-main"]


def test_gateway_is_ready_only_while_every_worker_does_its_work() -> None:
    bound = {"address": "127.0.0.1:44818"}
    table = table_of(ROLES)
    assert table.not_ready(0.0) == dict.fromkeys(ROLES, "starting")
    for pid, name in enumerate(ROLES, start=71):
        extra = bound if name == "listener-main" else {}
        table.receive_beat(name, beat(name, pid, extra=extra), 0.1)
    assert table.not_ready(0.2) == {}
    table.receive_beat("poller-1", beat("poller-1", 73, state="backing off"), 0.3)
    table.receive_beat("listener-main", beat("listener-main", 72, extra={}), 0.3)
    table.receive_beat("feed", beat("feed", 71, extra={"not_ready": "address taken"}), 0.3)
    assert table.not_ready(0.4) == {
        "feed": "address taken",
        "listener-main": "not bound",
        "poller-1": "backing off",
    }
    refused = beat("poller-1", 73, state="backing off", overdue=["epochs/p: schema 2 is newer"])
    table.receive_beat("poller-1", refused, 0.5)
    assert table.not_ready(0.6)["poller-1"] == "backing off: epochs/p: schema 2 is newer"
    table.receive_beat("poller-1", beat("poller-1", 73), 1.0)
    table.receive_beat("listener-main", beat("listener-main", 72, extra=bound), 1.0)
    assert table.not_ready(3.5) == {
        "feed": "silent for 3.2 s",
        "listener-main": "silent for 2.5 s",
        "poller-1": "silent for 2.5 s",
    }
    table.process_exited("poller-1", 73, 3.5)
    assert table.not_ready(3.6)["poller-1"] == "restarting"


def test_devices_of_a_worker_that_is_down_are_unknown_and_say_why() -> None:
    table = table_of({"poller-1": "poller"})
    online = {"boiler": {"state": "online", "last_error": ""}}
    table.receive_beat("poller-1", beat("poller-1", 71, devices=online), 0.0)
    assert table.devices()["boiler"]["state"] == "online"
    table.process_exited("poller-1", 71, 1.0)
    assert table.devices()["boiler"] == {
        "state": "unknown",
        "worker": "poller-1",
        "last_error": "worker poller-1 is restarting",
    }


def test_online_device_without_a_connection_is_offline_or_just_connecting() -> None:
    table = table_of({"poller-1": "poller"})
    devices = {
        name: {"state": state, "connection": {"state": connection, "attempts_failed": failed}}
        for name, state, connection, failed in [
            ("a", "online", "open", 0),
            ("b", "online", "closed", 0),
            ("c", "degraded", "closed", 2),
            ("d", "demoted", "closed", 2),
            ("e", "disabled", "closed", 0),
        ]
    }
    table.receive_beat("poller-1", beat("poller-1", 71, devices=devices), 0.0)
    assert {name: state["state"] for name, state in table.devices().items()} == {
        "a": "online",
        "b": "connecting",
        "c": "offline",
        "d": "demoted",
        "e": "disabled",
    }


def test_worker_that_left_the_topology_is_forgotten() -> None:
    table = table_of(ROLES)
    table.receive_beat("poller-1", beat("poller-1", 71), 0.0)
    table.expect({"feed": "feed"}, 1.0)
    assert [row["name"] for row in table.rows(1.0)] == ["feed"]
