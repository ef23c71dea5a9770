"""`cpppoctl` against a control socket: what it prints, for programs and people; exit status."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cpppod.commands.cpppoctl import command as cpppoctl
from cpppod.commands.cpppoctl import output
from cpppod.commands.cpppoctl.queries import DEVICE_TITLES
from cpppod.protocols.bus.messages import WriteReply
from cpppod.workers.control.actions import Actions
from cpppod.workers.control.queries import Queries
from cpppod.workers.control.worker_commands import WorkerCommands
from tests.known_gateway import KnownGateway, known_gateway, served
from tests.patience import PATIENCE_S

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KnownGateway]:
    monkeypatch.setenv("CPPPOD_SOCKET", str(tmp_path / "control.sock"))
    with served(known_gateway(), tmp_path / "control.sock") as known:
        yield known


def run_json(capsys: Capture, *arguments: str, status: int = 0) -> Any:
    exit_status = cpppoctl.main([*arguments, "--json"])
    output = capsys.readouterr().out
    assert exit_status == status, output
    return json.loads(output)


def run_text(capsys: Capture, *arguments: str, status: int = 0) -> str:
    assert cpppoctl.main(arguments) == status
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_status_counts_devices_and_workers(gateway: KnownGateway, capsys: Capture) -> None:
    answer = run_json(capsys, "status", status=1)
    assert answer["version"] == "1.2.3"
    assert answer["ready"] is False  # one worker has never beaten
    assert answer["summary"]["device_states"] == {"online": 1, "demoted": 1, "unknown": 1}
    assert {each["name"]: each["state"] for each in answer["workers"]}["poller-press"] == "starting"
    assert answer["not_ready"]["poller-press"] == "starting"
    text = run_text(capsys, "status", status=1)
    assert re.search(r"state +not ready: .*poller-press starting", text)
    assert "1 of 3 up" in text
    assert "hall 7" in text


def test_devices_show_state_and_last_error(gateway: KnownGateway, capsys: Capture) -> None:
    rows = {each["name"]: each for each in run_json(capsys, "devices")["devices"]}
    assert rows["pump"]["last_error"] == "unit 7 did not answer within 1 s"
    assert rows["boiler"]["worker"] == "poller-boiler"
    assert rows["boiler"]["age_s"] >= 0.2
    text = run_text(capsys, "devices")
    assert "unit 7 did not answer within 1 s" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("BOILER", "boiler is online"),
        ("pump", "pump is demoted after 3 failures in a row: unit 7 did not answer within 1 s; "),
        ("pump", "next probe in 2.5 s"),
        ("press", "press is unknown: its worker has not told of it yet"),
        ("boiler", "unit 1 FC3 0 x 2"),
    ],
)
def test_device_explains_itself(
    gateway: KnownGateway, capsys: Capture, name: str, words: str
) -> None:
    assert words in run_text(capsys, "device", name)


def test_unknown_device_is_refused_in_one_line(gateway: KnownGateway, capsys: Capture) -> None:
    text = run_text(capsys, "device", "kettle", status=1)
    assert text == "cpppoctl: kettle: no such device; try cpppoctl devices, which lists them\n"


def test_tags_list_value_quality_and_access(gateway: KnownGateway, capsys: Capture) -> None:
    tags = {each["tag"]: each for each in run_json(capsys, "tags")["tags"]}
    assert list(tags) == [
        "boiler.pressure",
        "boiler.setpoint",
        "boiler.recipe",
        "pump.speed",
        "SCADA",
    ]
    assert tags["boiler.pressure"]["value"] == 4.25
    assert tags["boiler.recipe"]["reason"] == "device refused (status 0x02)"
    assert tags["boiler.recipe"]["status_text"] == "illegal data address"
    assert tags["pump.speed"]["reason"] == "not yet known"
    text = run_text(capsys, "tags", "boiler.*")
    assert "4.25" in text
    assert "INT[4]" in text
    assert "device refused (status 0x02): illegal data address" in text
    assert "pump" not in text


def test_read_fails_unless_every_value_is_good(gateway: KnownGateway, capsys: Capture) -> None:
    assert run_json(capsys, "read", "boiler.pressure")["values"][0]["value"] == 4.25
    assert cpppoctl.main(["read", "boiler.pressure", "boiler.recipe"]) == 1
    assert cpppoctl.main(["read", "nothing"]) == 1
    assert "cpppoctl: nothing: no such tag" in capsys.readouterr().err


def test_read_takes_one_element_and_whole_devices(gateway: KnownGateway, capsys: Capture) -> None:
    gateway.publish_soon(recipe=([1, 2, 3, 4], 0))
    assert run_json(capsys, "read", "boiler.recipe[2]")["values"][0]["value"] == 3
    assert len(run_json(capsys, "read", "boiler")["values"]) == 3
    assert "has 4 elements" in run_text(capsys, "read", "boiler.recipe[4]", status=1)


def test_write_goes_to_the_owner_and_shows_what_was_read_back(
    gateway: KnownGateway, capsys: Capture
) -> None:
    assert run_text(capsys, "write", "boiler.setpoint=6.5") == "boiler.setpoint: 5 -> 6.5\n"
    assert gateway.writes_seen == [("boiler", [["setpoint", 0, [6.5]]])]
    assert run_json(capsys, "read", "boiler.setpoint")["values"][0]["value"] == 6.5


def test_several_writes_stop_at_the_first_that_fails(
    gateway: KnownGateway, capsys: Capture
) -> None:
    gateway.write_reply = WriteReply(0, status=0x1F, extended=[3], error="illegal data value")
    text = run_text(capsys, "write", "boiler.setpoint=1", "boiler.recipe=1,2", status=1)
    assert "boiler.setpoint: illegal data value (status 0x1f, extended 0x0003)" in text
    assert "not tried: the last 1" in text
    assert len(gateway.writes_seen) == 1


def test_write_of_unknown_outcome_says_so(gateway: KnownGateway, capsys: Capture) -> None:
    gateway.write_reply = WriteReply(0, 0x01, [0x0204], "no reply in 12 s", unknown=True)
    text = run_text(capsys, "write", "boiler.setpoint=1", status=1)
    assert "outcome unknown: no reply in 12 s; try cpppoctl read boiler.setpoint" in text


def test_write_to_a_listener_that_is_away_has_the_status_that_a_client_of_one_would_get(
    gateway: KnownGateway, capsys: Capture
) -> None:
    gateway.gateway.orders = WorkerCommands(lambda worker, frame: False)
    assert cpppoctl.main(["write", "SCADA=1", "--json"]) == 1
    (written,) = json.loads(capsys.readouterr().out)["writes"]
    assert (written["status"], written["extended"]) == (0x01, [0x0301])
    assert written["outcome"] == "failed"


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("boiler.pressure=1", "boiler.pressure: not writable"),
        ("boiler.setpoint=warm", "'warm' is no number; try a value of type REAL"),
        ("boiler.recipe[3]=1,2", "elements 3 to 4 of 4"),
        ("boiler.kettle=1", "no such tag"),
        ("pump.speed=1", "not writable"),
    ],
)
def test_write_that_cannot_be_is_refused_before_anything_is_sent(
    gateway: KnownGateway, capsys: Capture, assignment: str, words: str
) -> None:
    text = run_text(capsys, "write", "boiler.setpoint=1", assignment, status=1)
    assert words in text
    assert gateway.writes_seen == []


def test_local_tag_is_written_by_its_listener(gateway: KnownGateway, capsys: Capture) -> None:
    gateway.answers["write"] = {"status": 0}
    assert cpppoctl.main(["write", "SCADA[3]=7"]) == 0
    worker, verb, arguments = gateway.orders_seen[-1]
    assert (worker, verb) == ("listener-main", "write")
    assert arguments["writes"] == [["SCADA", 3, [7]]]


def test_watch_shows_values_now_and_when_they_change(
    gateway: KnownGateway, capsys: Capture
) -> None:
    from cpppod.control_client import ControlClient

    with ControlClient.connect() as client:
        updates = client.stream("watch", patterns=["boiler.p*"])
        assert [each["value"] for each in next(updates)["values"]] == [4.25]
        gateway.publish_soon(setpoint=(1.0, 0))
        gateway.publish_soon(pressure=(4.5, 0))
        assert [each["value"] for each in next(updates)["values"]] == [4.5]
    text = run_text(capsys, "watch", "boiler.pressure", "--count", "1")
    assert "boiler.pressure  4.5 bar" in text
    assert "no such tag" in run_text(capsys, "watch", "kettle", status=1)


def test_routes_say_what_they_lead_to_and_allow(gateway: KnownGateway, capsys: Capture) -> None:
    route = run_json(capsys, "routes")["routes"][0]
    assert (route["path"], route["device"], route["state"]) == ("1/1", "press", "unknown")
    assert "reading services from 10.0.0.0/8" in run_text(capsys, "routes")


def test_pause_and_resume_go_to_the_owner(gateway: KnownGateway, capsys: Capture) -> None:
    assert run_text(capsys, "pause", "Boiler") == "boiler: paused\n"
    assert run_text(capsys, "resume", "boiler") == "boiler: polled again\n"
    assert gateway.orders_seen == [
        ("poller-boiler", "pause", {"device": "boiler"}),
        ("poller-boiler", "resume", {"device": "boiler"}),
    ]
    assert "worker poller-press is not connected" in run_text(capsys, "pause", "press", status=1)


def test_log_level_goes_to_one_worker_or_to_all(gateway: KnownGateway, capsys: Capture) -> None:
    assert run_text(capsys, "log", "debug", "feed") == "log level debug: 1 worker\n"
    assert gateway.orders_seen == [("feed", "log", {"level": "debug"})]
    text = run_text(capsys, "log", "info", status=1)
    assert "poller-press: worker poller-press is not connected" in text


def test_restart_of_a_worker_that_is_not_is_refused(gateway: KnownGateway, capsys: Capture) -> None:
    assert "no such worker; try one of control, feed" in run_text(
        capsys, "restart", "kettle", status=1
    )


SAMPLES = {
    "tag": "boiler.pressure",
    "columns": ["time_us", "value", "quality"],
    "rows": [[1_700_000_000_000_000, 4.5, 0], [1_700_000_001_500_000, None, 18]],
    "next_us": None,
}


def test_history_is_a_table_or_comma_separated(gateway: KnownGateway, capsys: Capture) -> None:
    gateway.answers["history"] = SAMPLES
    text = run_text(capsys, "history", "boiler.pressure", "--since", "10m", "--csv")
    assert text.splitlines() == [
        "time,value,quality,reason",
        "2023-11-14T22:13:20.000000+00:00,4.5,0,good",
        "2023-11-14T22:13:21.500000+00:00,,18,device did not answer in time",
    ]
    worker, verb, arguments = gateway.orders_seen[-1]
    assert (worker, verb, arguments["tag"]) == ("historian", "history", "boiler.pressure")
    assert 599e6 < arguments["until_us"] - arguments["since_us"] < 601e6
    assert "device did not answer in time" in run_text(capsys, "history", "boiler.pressure")
    assert run_json(capsys, "history", "boiler.pressure")["rows"] == SAMPLES["rows"]


STORED = {  # what is stored of each tag
    "boiler.level": [[1_700_000_000_000_000, 7, 0], [1_700_000_002_000_000, 8, 0]],
    "boiler.pressure": SAMPLES["rows"],
    "mixer.load": [[1_700_000_002_000_000, 1.5, 0]],
}


def answered_from_store(gateway: KnownGateway) -> Callable[[], Any]:
    """What a historian says with STORED, two names a page."""

    def answer() -> Any:
        asked = gateway.orders_seen[-1][2]
        if "tag" in asked:
            return SAMPLES | {"tag": asked["tag"], "rows": STORED[asked["tag"]]}
        names = [name for name in STORED if name > asked["after"]]
        return {"tags": names[:2], "next": names[1] if len(names) > 2 else None}

    return answer


def test_history_of_many_tags_is_one_table(gateway: KnownGateway, capsys: Capture) -> None:
    gateway.answers["history"] = answered_from_store(gateway)
    text = run_text(capsys, "history", "boiler.*", "mixer.load", "boiler.level", "--csv")
    assert text.splitlines() == [
        "time,tag,value,quality,reason",
        "2023-11-14T22:13:20.000000+00:00,boiler.level,7,0,good",
        "2023-11-14T22:13:22.000000+00:00,boiler.level,8,0,good",
        "2023-11-14T22:13:20.000000+00:00,boiler.pressure,4.5,0,good",
        "2023-11-14T22:13:21.500000+00:00,boiler.pressure,,18,device did not answer in time",
        "2023-11-14T22:13:22.000000+00:00,mixer.load,1.5,0,good",
    ]
    assert run_text(capsys, "history", "*", "--wide").splitlines() == [
        "time,boiler.level,boiler.pressure,mixer.load",
        "2023-11-14T22:13:20.000000+00:00,7,4.5,",
        "2023-11-14T22:13:22.000000+00:00,8,,1.5",
    ]
    whole = run_text(capsys, "history", "boiler", "--csv")
    assert whole == run_text(capsys, "history", "boiler.*", "--csv")
    told = run_json(capsys, "history", "m*")
    assert [each["tag"] for each in told["tags"]] == ["mixer.load"]
    table = run_text(capsys, "history", "boiler.level", "mixer.load").splitlines()
    assert table[0].split() == ["time", "tag", "value", "quality"] and len(table) == 4


def test_history_says_which_pattern_matches_nothing(gateway: KnownGateway, capsys: Capture) -> None:
    gateway.answers["history"] = answered_from_store(gateway)
    text = run_text(capsys, "history", "kettle.*", "mixer.*", "--csv", status=1)
    assert "no stored tag matches 'kettle.*'" in text
    assert "mixer.load,1.5" in text
    text = run_text(capsys, "history", "kettle", "mixer.*", "--wide", status=1)
    assert "no stored tag matches 'kettle'" in text


def test_history_goes_on_where_a_page_ended(gateway: KnownGateway, capsys: Capture) -> None:
    pages = [SAMPLES | {"next_us": 1_700_000_002_000_000}, SAMPLES]
    gateway.answers["history"] = lambda: pages.pop(0)
    assert len(run_json(capsys, "history", "boiler.pressure")["rows"]) == 4
    assert [asked[2]["limit"] for asked in gateway.orders_seen] == [0, 0]
    assert gateway.orders_seen[-1][2]["since_us"] == 1_700_000_002_000_000


def test_history_asks_the_store_for_what_a_picture_needs(
    gateway: KnownGateway, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    rows: list[list[Any]] = [[number, number, float(number), number, 1, 1] for number in range(48)]
    rows[10][2] = None
    columns = "time_us minimum mean maximum samples good_us".split()
    gateway.answers["history"] = {"tag": "t", "columns": columns, "rows": rows, "next_us": None}
    lines = run_text(capsys, "history", "boiler.pressure", "--since", "48s", "--plot").splitlines()
    assert len(lines) == 13
    assert lines[0].startswith("        47 ")
    assert lines[0].endswith("█")
    assert lines[11][11 + 9 : 11 + 12] == "█ █"
    assert 0.9e6 < gateway.orders_seen[-1][2]["step_us"] < 1.1e6


@pytest.mark.parametrize("words", [["--since", "soon"], ["--step", "x"], ["--csv", "--plot"]])
def test_history_refuses_what_is_no_time(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cpppoctl.main(["history", "boiler.pressure", *words])
    assert caught.value.code == 2


def test_daemon_that_is_not_there_is_exit_status_three(tmp_path: Path, capsys: Capture) -> None:
    text = run_text(capsys, "--socket", str(tmp_path / "none"), "status", status=3)
    assert text.startswith("cpppoctl: no running gateway found: no control socket at ")
    assert "none; try --socket PATH" in text


def test_audit_shows_attempts_and_verify_says_that_they_are_as_they_were_written(
    gateway: KnownGateway, capsys: Capture, tmp_path: Path
) -> None:
    assert run_text(capsys, "audit", "verify") == ("control: 0 records: as it was written\n")
    cpppoctl.main(["write", "boiler.recipe[1]=7,8"])
    cpppoctl.main(["write", "boiler.pressure=1"])
    capsys.readouterr()
    done, refused = run_json(capsys, "audit")["records"]
    assert (done["tag"], done["new"], done["outcome"]) == ("boiler.recipe", [7, 8], "done")
    assert (refused["tag"], refused["why"]) == ("boiler.pressure", "not writable")
    assert run_json(capsys, "audit", "--outcome", "failed")["records"] == [refused]
    text = run_text(capsys, "audit", "--tag", "*.recipe")
    assert "boiler.recipe[1]" in text
    assert "[7, 8]" in text
    assert run_text(capsys, "audit", "verify").startswith("control: 2 records, newest 2 ")
    newest = run_json(capsys, "audit", "verify")["writers"][0]
    later = f"control:3:{newest['hash']}"
    assert "cut" in run_text(capsys, "audit", "verify", "--newest", later, status=1)


def test_audit_is_read_from_its_files_without_the_daemon(
    gateway: KnownGateway, capsys: Capture, tmp_path: Path
) -> None:
    cpppoctl.main(["write", "boiler.setpoint=7"])
    capsys.readouterr()
    (path,) = (tmp_path / "state" / "audit" / "control").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"new":[7.0]', b'"new":[3.0]'))
    state = str(tmp_path / "state")
    text = run_text(capsys, "audit", "verify", "--state", state, status=1)
    assert "changed  control/0000000000000001.jsonl:1  record 1 is not as it was written" in text
    assert "NOT AS IT WAS WRITTEN" in run_text(capsys, "audit", "--state", state)
    text = run_text(capsys, "audit", "--state", str(tmp_path / "none"), status=1)
    assert "cannot be read: No such file or directory; try as the gateway's user" in text
    assert "limit: expected 1 to 1000" in run_text(capsys, "audit", "--limit", "0", status=1)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["brew"],
        ["device"],
        ["write", "x"],
        ["log", "loud"],
        ["audit", "verify", "--newest", "x:1"],
    ],
)
def test_wrong_usage_is_exit_status_two(arguments: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        cpppoctl.main(arguments)
    assert caught.value.code == 2


def test_every_command_has_help_and_the_page_of_commands_shows_it(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        cpppoctl.main(["--help"])
    text = capsys.readouterr().out
    for example in ("cpppoctl device boiler", "exit status: 0 done", "$CPPPOD_SOCKET"):
        assert example in text


def test_reader_that_leaves_ends_the_output_without_a_traceback(gateway: KnownGateway) -> None:
    command = f"{sys.executable} -m cpppod.commands.cpppoctl tags --json | true"
    done = subprocess.run(
        command,
        shell=True,
        capture_output=True,
        timeout=PATIENCE_S,
        env=dict(os.environ),
        check=False,
    )
    assert done.stderr == b""


def test_page_of_documentation_names_every_command_and_verb(gateway: KnownGateway) -> None:
    docs = Path(__file__).parents[2] / "docs"
    commands, control = (docs / "commands.md").read_text(), (docs / "control.md").read_text()
    actions = Actions(gateway.gateway, cast(Any, None), lambda _: None)
    known = Queries(gateway.gateway).verbs() | actions.verbs()
    for verb, row in known.items():
        assert f"`{verb}" in commands, verb
        rights = next(
            line
            for line in control.splitlines()
            if line.startswith(f"| {row.right.name.lower()} |")
        )
        assert f"`{verb}`" in rights, verb


def test_thirteen_devices_fit_a_terminal_of_80_by_24_and_no_name_is_folded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [f"extruder_zone_{number}" for number in range(13)]
    rows = [
        (name, "offline", "0.5/s", "1.2 s", 120, 7, "modbus-tcp", "10.20.30.40:502", "x" * 90)
        for name in names
    ]
    output.print_table(DEVICE_TITLES, rows, width=80)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 14
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:]] == names


@pytest.mark.parametrize(
    ("widths", "room", "expected"),
    [
        ([10, 5, 20], 60, [10, 5, 20]),
        ([10, 5, 20], 30, [10, 5, 11]),
        ([10, 20, 20], 30, [10, 8, 8]),
        ([10, 20, 20], 24, [8, 8, 4]),
    ],
)
def test_columns_give_way_from_the_right(widths: list[int], room: int, expected: list[int]) -> None:
    assert output.fitted(widths, room) == expected
