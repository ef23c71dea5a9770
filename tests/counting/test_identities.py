"""The ledger over what happens to a state directory and a store: served = stored + declared."""

import contextlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpppod.commands.cpppoctl import command as cpppoctl
from tests.counting.counters import counting_devices
from tests.counting.site import Site, closing_all, replace_folder
from tests.gateway.running import ROOT, eventually
from tests.postgresql_cluster import Cluster, running_cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("psycopg")
    with running_cluster() as found:
        yield found


VECTORS = ROOT / "tests" / "vectors" / "stores_v1"
SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
POSTGRESQL = pytest.mark.parametrize("store", ["postgresql"], indirect=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """`[history]` of a store that is not in the state directory, and its URL."""
    if request.param == "sqlite":
        return f'path = "{tmp_path / "history"}"', str(tmp_path / "history")
    import psycopg

    url = request.getfixturevalue("cluster").url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS history CASCADE")
    return f'store = "postgresql"\ndsn = "{url}"', url


def reasons(site: Site, gateway: str | None = None) -> set[str]:
    return {gap.reason for gap in site.gaps(gateway)}


def test_a_state_directory_that_was_reset_costs_what_is_declared(store: tuple[str, str]) -> None:
    """A container made anew with a configured id: the store keeps the cursor of the old journal."""
    with (
        counting_devices(2) as counters,
        closing_all(Site(counters, *store, gateway="press-7")) as (site,),
    ):
        site.start()
        site.wait_until_stored()
        site.stop()
        shutil.rmtree(site.state)
        site.start()
        assert site.id() == "press-7"
        site.wait_until_stored()
        site.kill()
        shutil.rmtree(site.state)
        site.start()
        site.settle()
        verdict = site.verdict("press-7")
    assert verdict.problems == [], verdict
    assert verdict.stored > 0.7 * verdict.served
    assert reasons(site) == {"journal lost"}


@SQLITE
def test_a_lost_id_is_a_new_gateway_and_adopts_the_old_history(
    store: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with counting_devices(2) as counters, closing_all(Site(counters, *store)) as (site,):
        site.start()
        old = site.id()
        eventually(lambda: site.gateway.stored("counter_0.c0"))  # before its journal is gone
        site.stop()
        shutil.rmtree(site.state)
        site.start()
        new = site.id()
        assert old != new
        assert f"gateway id {new}, made in" in site.gateway.log.read_text()
        socket = ("--socket", str(site.gateway.runtime))
        assert cpppoctl.main([*socket, "gateway", "adopt", "nobody"]) == 1
        assert cpppoctl.main([*socket, "gateway", "adopt", old]) == 0
        assert cpppoctl.main([*socket, "gateway", "--json"]) == 0
        told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
        assert told == {"id": new, "gateways": [old, new], "adopted": {old: new}}
        site.settle()
        first = site.gateway.stored("counter_0.c0")[0][1]
        verdict = site.verdict(new)
    assert first == 1  # `cpppoctl history` has both
    assert verdict.stored > 0.5 * verdict.served
    assert not [each for each in verdict.problems if "twice" in each or "times" in each]


@POSTGRESQL
def test_two_gateways_and_one_database_have_all_samples_of_both(store: tuple[str, str]) -> None:
    with (
        counting_devices(2) as left,
        counting_devices(2) as right,
        closing_all(Site(left, *store, gateway="left"), Site(right, *store, gateway="right")) as (
            one,
            two,
        ),
    ):
        one.start()
        two.start()
        two.wait_for_readings(60)
        one.settle()
        two.settle()
        verdicts = [one.verdict("left"), two.verdict("right")]
    for verdict in verdicts:
        assert verdict.problems == [], verdict
        assert verdict.stored == verdict.served


@POSTGRESQL
def test_a_copied_disk_is_refused_by_name_polls_on_and_is_stored_later(
    store: tuple[str, str],
) -> None:
    with (
        counting_devices(2) as counters,
        counting_devices(2, before=1_000_000) as others,
        closing_all(Site(counters, *store), Site(others, *store)) as (first, copy),
    ):
        first.start()
        first.stop()
        shutil.copytree(first.state, copy.state)
        first.start()
        copy.start()
        assert copy.id() == first.id()
        said = eventually(lambda: "; ".join(copy.gateway.workers()["historian"]["overdue"]))
        assert f"another living gateway of the id {first.id()} writes there" in said
        assert copy.gateway.ask("read", tags=["counter_0.c0"])["values"][0]["good"]
        copy.wait_for_readings(20)
        first.settle()
        first.kill()
        copy.wait_for_readings(10)
        copy.settle()
        stored = {(row.device, row.value) for row in copy.rows() if row.tag == "c0"}
        missing = [
            each
            for each in [*counters.served, *others.served]
            if (each.device, each.n) not in stored
        ]
    assert len(missing) <= 4  # in hand at a stop or a kill, one of each device


@SQLITE
def test_a_clean_stop_costs_nothing_and_says_so(store: tuple[str, str]) -> None:
    with counting_devices(2) as counters, closing_all(Site(counters, *store)) as (site,):
        site.start()
        site.stop()
        site.start()
        site.settle()
        verdict = site.verdict()
        gaps = site.gaps()
    assert verdict.problems == [], verdict
    assert {gap.reason for gap in gaps} == {"stopped"}
    assert all((gap.blocks, gap.samples) == (0, 0) and gap.from_us < gap.to_us for gap in gaps)
    assert verdict.in_gaps <= 2 * 2 * 2  # what was in hand at the stop, of each tag


def test_old_copies_of_the_state_and_of_the_store_cost_what_is_declared(tmp_path: Path) -> None:
    """Each alone, then both: the state's from one moment, the store's from another."""
    history = tmp_path / "history"
    states, stores = tmp_path / "states", tmp_path / "stores"
    with (
        counting_devices(2) as counters,
        closing_all(Site(counters, f'path = "{history}"', str(history))) as (site,),
    ):
        site.start()
        site.stop()
        shutil.copytree(site.state, states)
        site.start()
        site.kill()
        shutil.copytree(history, stores)
        site.start()
        site.kill()
        replace_folder(states, site.state)
        site.start()
        site.kill()
        replace_folder(stores, history)
        site.start()
        site.stop()
        replace_folder(states, site.state)
        replace_folder(stores, history)
        site.start()
        site.settle()
        verdict = site.verdict()
        found = reasons(site)
    assert verdict.undeclared == 0, verdict
    assert not [each for each in verdict.problems if "times" in each or "never" in each], verdict
    assert found & {"journal lost", "journal segments missing"}


def test_a_state_directory_of_before_there_were_ids_is_gone_on_from(tmp_path: Path) -> None:
    """The one in tests/vectors, that was killed with a tail in its journal."""
    expected = json.loads((VECTORS / "sqlite.json").read_text())
    with (
        counting_devices(1) as counters,
        closing_all(Site(counters, "", "")) as (site,),
    ):
        site.url = str(site.state / "history")
        with tarfile.open(VECTORS / "sqlite-state.tar.xz") as archive:
            archive.extractall(site.gateway.folder, filter="data")
        site.start()
        assert "there was none" in site.gateway.log.read_text()  # an id
        shown = eventually(lambda: site.gateway.stored("counter_0.n", limit=5))
        site.settle()
        gaps = [list(gap)[:11] for gap in site.gaps()]
        rows = [[row.time_us, row.value, row.quality] for row in site.rows() if row.tag == "n"]
        ids = json.loads((site.state / "symbols" / "listener-main.json").read_text())
    assert rows[: len(expected["rows"]["counter_0.n"])] == expected["rows"]["counter_0.n"]
    assert [row[0] for row in shown] == [row[0] for row in expected["rows"]["counter_0.n"][:5]]
    assert [gap[8] for gap in gaps if gap not in expected["gaps"]] == ["publisher restarted"]
    assert ids["symbols"].items() >= expected["symbols"]["symbols"].items()


def test_a_second_gateway_on_one_state_directory_is_refused_by_name(tmp_path: Path) -> None:
    history = tmp_path / "history"
    with (
        counting_devices(1) as counters,
        closing_all(Site(counters, f'path = "{history}"', str(history))) as (site,),
    ):
        site.start()
        command = [sys.executable, "-m", "cpppod.commands.cpppod", "--foreground", "--plain"]
        command += ["-c", str(site.gateway.configuration), "--state", str(site.state)]
        command += ["--runtime", str(tmp_path / "run")]
        told = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
        )
        name = site.id()
        site.stop()
        again = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
        )
        with contextlib.closing(again.stdout) as lines:  # type: ignore[type-var]
            assert lines is not None
            assert any("ready after" in line for line in lines)
            again.terminate()
            again.wait(30)
    assert told.returncode == 1
    assert f"gateway {name} runs on this state directory already" in told.stderr
    assert str(site.gateway.runtime) in told.stderr
