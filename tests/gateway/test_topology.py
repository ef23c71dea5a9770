"""The plant cut into workers: who owns what, what stays where, what is written."""

import json
import stat
from pathlib import Path

import pytest

from cpppod.gateway import topology
from cpppod.gateway.topology import Directories
from cpppod.protocols.model.plant import (
    Device,
    Group,
    Line,
    Listener,
    Plant,
    Route,
    RunningOutlet,
    Tag,
    Worker,
    from_plain,
)

DIRECTORIES = Directories(Path("/run/x"), Path("/var/lib/x"))


def tcp(number: int, **more: bool) -> Device:
    return Device(f"d{number}", "modbus-tcp", f"10.0.0.{number}:502", **more)  # type: ignore[arg-type]


def plant_of(count: int, **more: object) -> Plant:
    devices = tuple(tcp(number) for number in range(count))
    return Plant(listeners=(Listener("main"),), devices=devices, **more)  # type: ignore[arg-type]


def by_name(plant: Plant, **more: dict[str, str]) -> dict[str, Worker]:
    return {
        worker.name: worker
        for worker in topology.workers(plant, 1, DIRECTORIES, **more)  # type: ignore[arg-type]
    }


def test_up_to_sixteen_devices_have_a_worker_each() -> None:
    found = by_name(plant_of(16))
    assert sorted(name for name in found if name.startswith("poller-")) == sorted(
        f"poller-d{number}" for number in range(16)
    )
    assert [device.name for device in found["poller-d3"].devices] == ["d3"]


def test_beyond_that_devices_share_and_all_are_owned_once() -> None:
    found = by_name(plant_of(100))
    pollers = [worker for worker in found.values() if worker.role == "poller"]
    assert len(pollers) == 7
    owned = [device.name for worker in pollers for device in worker.devices]
    assert sorted(owned) == sorted(f"d{number}" for number in range(100))
    assert found["router"].owners == {
        device.name: worker.name for worker in pollers for device in worker.devices
    }


def test_an_isolated_device_keeps_a_worker_of_its_own() -> None:
    devices = (*(tcp(number) for number in range(20)), tcp(99, isolate=True))
    found = by_name(Plant(devices=devices))
    assert [device.name for device in found["poller-d99"].devices] == ["d99"]


def test_shares_depend_on_names_alone_and_one_more_moves_few() -> None:
    before = topology.assign(plant_of(32).devices, 16, {})
    assert topology.assign(tuple(reversed(plant_of(32).devices)), 16, {}) == before
    after = topology.assign(plant_of(33).devices, 16, {})
    moved = [name for name, worker in before.items() if after[name] != worker]
    assert all(after[name] == "poller-3" for name in moved)
    assert len(moved) < 20


def test_over_a_reload_devices_stay_with_their_worker() -> None:
    before = topology.assign(plant_of(16).devices, 16, {})
    after = topology.assign(plant_of(17).devices, 16, before)
    assert {name: after[name] for name in before} == before
    assert after["d16"] in ("poller-1", "poller-2")


def test_a_line_has_one_worker_for_all_its_units() -> None:
    devices = tuple(Device(f"m{unit}", "modbus-rtu", "hall", unit=unit) for unit in (1, 2, 3))
    plant = Plant(devices=devices, lines=(Line("hall", "demo/hall"), Line("spare", "/dev/ttyS1")))
    found = by_name(plant)
    assert len(found["serial-hall"].devices) == 3
    assert found["serial-hall"].lines[0].port == "/run/x/demo/hall"
    assert "serial-spare" not in found


def test_a_route_to_an_address_makes_an_unpolled_device_with_its_own_worker() -> None:
    routes = (Route("1/1", address="10.9.9.9:44818"), Route("1/2", address="10.9.9.9:44818"))
    found = by_name(plant_of(20, routes=routes))
    assert [route.device for route in found["router"].routes] == ["_10_9_9_9_44818"] * 2
    worker = found["poller-_10_9_9_9_44818"]
    assert [(device.driver, device.address, device.groups) for device in worker.devices] == [
        ("enip", "10.9.9.9:44818", ())
    ]


def test_route_to_a_device_that_relays_no_cip_says_so() -> None:
    devices = (
        Device("press", "enip", "x:1"),
        Device("boiler", "modbus-tcp", "y:502"),
        Device("scale", "text", "z:99"),
    )
    paths = {"1/1": "press", "1/2": "boiler", "1/3": "scale"}
    routes = tuple(Route(path, device) for path, device in paths.items())
    told = by_name(Plant(devices=devices, routes=routes))["router"].routes
    assert [route.relayed for route in told] == [True, False, False]


def test_long_host_names_make_names_that_differ() -> None:
    one, two = ("a" * 60 + ".example:1", "a" * 60 + ".example:2")
    assert topology.routed_name(one) != topology.routed_name(two)
    assert len(topology.routed_name(one)) <= 40


def test_control_knows_every_worker_and_starts_first() -> None:
    workers = topology.workers(plant_of(2), 1, DIRECTORIES, files=("/etc/cpppod/cpppod.toml",))
    control = workers[0]
    assert control.options["workers"] == {worker.name: worker.role for worker in workers}
    assert control.options["files"] == ["/etc/cpppod/cpppod.toml"]
    assert control.options["supervisor"] == "/run/x/bus/supervisor.sock"


def test_a_historian_runs_where_there_is_history() -> None:
    history = {"store": "sqlite", "path": "", "journal_bytes": 1, "journal_age_s": 2.0}
    group = Group("g", 1.0, (Tag("t", "0"),), history=True)
    device = Device("d", "modbus-tcp", "h:502", groups=(group,))
    outlet = RunningOutlet("historian", "historian", "history", history)
    found = by_name(Plant(devices=(device,), outlets=(outlet,)))
    assert found["historian"].options == found["control"].options["history"] == history
    assert found["poller-d"].options == {"journal_bytes": 1, "journal_age_s": 2.0}
    assert "historian" not in by_name(plant_of(1))


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    return Directories(tmp_path, tmp_path / "state")


def test_settings_are_written_for_our_eyes_only_and_read_back(directories: Directories) -> None:
    workers = topology.workers(plant_of(3), 1, directories)
    folder = topology.write_generation(workers, directories, 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for worker in workers:
        path = folder / f"{worker.name}.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert from_plain(Worker, json.loads(path.read_text())) == worker


def test_workers_start_from_the_current_generation(directories: Directories) -> None:
    assert topology.current_generation(directories) == 0
    for generation in (1, 2):
        workers = topology.workers(plant_of(generation), generation, directories)
        topology.write_generation(workers, directories, generation)
        topology.make_current(directories, generation)
    assert topology.current_generation(directories) == 2
    settings = json.loads(directories.settings("router").read_text())
    assert settings["generation"] == 2


def test_units_behind_one_modbus_address_have_one_owner_also_over_a_reload() -> None:
    def unit(name: str) -> Device:
        return Device(name, "modbus-tcp", "Gateway:502")

    owned = topology.assign((unit("b"), unit("c"), Device("d", "modbus-tcp", "x:502")), 16, {})
    assert owned == {"b": "poller-b", "c": "poller-b", "d": "poller-d"}
    owned = topology.assign((unit("a"), unit("b"), unit("c")), 16, owned)
    assert owned == dict.fromkeys("abc", "poller-b")
