"""The web's API on a whole gateway: what a program or a hostile page gets from it."""

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.gateway.running import RunningGateway, eventually
from tests.patience import PATIENCE_S

SHIPPED = 8880


@pytest.fixture(name="web")
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    """A client of the page's address, who is nobody."""
    host, port = gateway.address(SHIPPED)
    with httpx.Client(base_url=f"http://{host}:{port}", timeout=PATIENCE_S) as found:
        eventually(lambda: is_there(found))
        yield found


def is_there(web: httpx.Client) -> bool:
    try:
        return web.get("/api/v1/status").status_code == 200
    except httpx.TransportError:
        return False


def get(web: httpx.Client, path: str, **query: Any) -> Any:
    answer = web.get(f"/api/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def raw(gateway: RunningGateway, request: bytes) -> bytes:
    """The answer to bytes that no client would send."""
    with socket.create_connection(gateway.address(SHIPPED), PATIENCE_S) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while part := connection.recv(65_536):
            found += part
        return found


def test_status_and_devices_are_what_control_says(
    gateway: RunningGateway, web: httpx.Client
) -> None:
    assert get(web, "status")["gateway"] == gateway.ask("status")["gateway"]
    names = [row["name"] for row in gateway.ask("devices")["devices"]]
    eventually(lambda: [row["name"] for row in get(web, "devices")["devices"]] == names)
    eventually(lambda: get(web, "devices/boiler")["told"].get("transactions"))  # told by beats
    assert get(web, "devices/boiler")["configured"]["driver"] == "modbus-tcp"
    assert web.get("/api/v1/devices/kettle").status_code == 404


def test_tags_are_found_by_words_and_patterns_and_come_in_pages(web: httpx.Client) -> None:
    first = get(web, "tags", limit=2)
    second = get(web, "tags", limit=2, offset=2)
    assert len(first["tags"]) == len(second["tags"]) == 2
    assert first["total"] == second["total"] > 20
    assert {row["tag"] for row in first["tags"]}.isdisjoint(row["tag"] for row in second["tags"])
    assert [row["tag"] for row in get(web, "tags", filter="boil press")["tags"]] == [
        "boiler.pressure"
    ]
    assert get(web, "tags", filter="meter_?.reading")["total"] == 3
    assert get(web, "tags", filter="shift")["tags"][0]["device"] == ""


def test_only_the_fields_asked_for_are_told_and_without_live_ones_not_twice(
    web: httpx.Client,
) -> None:
    query = {"fields": "tag,unit", "filter": "boiler.pressure"}
    answer = web.get("/api/v1/tags", params=query)
    assert answer.json()["tags"] == [{"tag": "boiler.pressure", "unit": "bar"}]
    again = web.get("/api/v1/tags", params=query, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "offset=-1",
        "fields=secret",
        f"limit={10**99}",
        "filter=" + "a+" * 60,
        "filer=boiler",
        "limit=5&limit=6",
        "limit=",
        "&".join(f"filter={number}" for number in range(50)),
    ],
)
def test_a_query_out_of_its_limits_is_refused_and_says_them(web: httpx.Client, query: str) -> None:
    answer = web.get(f"/api/v1/tags?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 422 and answer.json()["try"]


def test_values_are_read_in_the_order_asked_for(gateway: RunningGateway, web: httpx.Client) -> None:
    names = ["press.total", "boiler.pressure"]
    values = get(web, "read", tags=",".join(names))["values"]
    assert [each["tag"] for each in values] == names
    posted = web.post("/api/v1/read", json={"tags": names}).json()["values"]
    assert [each["tag"] for each in posted] == names
    assert all(each["good"] and each["age_s"] < PATIENCE_S for each in values)
    assert web.get("/api/v1/read?tags=kettle.on").status_code == 404
    assert web.get("/api/v1/read").status_code == 422


def test_history_is_told_raw_in_buckets_and_as_a_table(web: httpx.Client) -> None:
    tag = "boiler.pressure"
    eventually(lambda: web.get("/api/v1/history", params={"tag": tag}).json().get("rows"))
    raw_rows = get(web, "history", tag=tag)
    assert raw_rows["columns"] == ["time_us", "value", "quality"]
    buckets = get(web, "history", tag=tag, aggregate="buckets", step_us=60_000_000)
    assert buckets["columns"][:4] == ["time_us", "minimum", "mean", "maximum"]
    table = web.get("/api/v1/history", params={"tag": tag, "format": "csv", "limit": 1})
    rows = list(csv.reader(io.StringIO(table.text)))
    assert rows[0] == ["time", "time_us", "value", "quality"] and rows[1][0].endswith("Z")
    assert web.get("/api/v1/history?tag=kettle.on").status_code == 404
    for wrong in ("aggregate=buckets", "aggregate=step&step_us=0", "since_us=2&until_us=1"):
        refused = web.get(f"/api/v1/history?tag={tag}&{wrong}")
        assert refused.status_code == 409 and refused.json()["try"]


def test_routes_and_events_are_told(web: httpx.Client) -> None:
    assert get(web, "routes")["routes"][0]["path"] == "1/1"
    events = get(web, "events")["events"]
    numbers = [event["number"] for event in events]
    assert numbers == sorted(numbers, reverse=True)


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """(event, data) of a stream of server-sent events."""
    kind = ""
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))


def test_live_values_begin_whole_and_follow_the_feed_number_by_number(web: httpx.Client) -> None:
    with web.stream("GET", "/api/v1/live", params={"tags": "boiler.pressure"}) as answer:
        events = events_of(answer.iter_lines())
        kind, first = next(events)
        assert (kind, first["topic"]) == ("whole", "boiler/fast")
        assert set(first["values"]) == {"cycles", "pressure", "temperature"}
        known, blocks = first["sequence"], 0
        while blocks < 3:
            kind, block = next(events)
            assert kind in ("block", "whole") and block["epoch"] == first["epoch"]
            if kind == "block":  # whole once more where the feed has begun anew shortly before
                assert block["previous"] in (known, known - 1) or block["sequence"] <= known
                blocks += 1
            known = block["sequence"]


def test_a_live_stream_of_nothing_is_refused(web: httpx.Client) -> None:
    assert web.get("/api/v1/live?tags=kettle").status_code == 404


def test_nobody_may_change_anything_without_a_role(web: httpx.Client) -> None:
    told = get(web, "session")
    assert (told["user"], told["role"], told["csrf"]) == ("nobody", "viewer", "")
    answer = web.post("/api/v1/session", json={"token": "guessed"})
    assert answer.status_code == 401
    unknown = {"Authorization": "Bearer guessed"}
    assert web.get("/api/v1/status", headers=unknown).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/static/..%2f..%2fetc/passwd",
        "/%252e%252e/%252e%252e/etc/passwd",
        "/../../../../etc/passwd",
        "//etc/passwd",
        "/index.html%00.js",
        "/..\\..\\settings.py",
        "/__init__.py",
        "/api/v1/..%2f..%2fetc/passwd",
    ],
)
def test_no_path_leads_out_of_the_page(gateway: RunningGateway, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = raw(gateway, request.encode("latin-1"))
    assert answer.split(b" ")[1] in (b"404", b"400"), answer[:200]
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /api/v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /",
        b"POST /api/v1/read HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"zz\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n folded: yes\r\nX Y: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
    ids=["two lengths", "bad chunk", "bad name", "blank in name", "TLS"],
)
def test_bytes_that_are_no_request_are_refused_and_the_connection_ends(
    gateway: RunningGateway, web: httpx.Client, request_bytes: bytes
) -> None:
    answer = raw(gateway, request_bytes)
    assert answer == b"" or answer.split(b" ")[1] == b"400", answer[:200]
    assert is_there(web)


@pytest.mark.parametrize("lines", [b"X: " + b"x" * 70_000, b"\r\n".join([b"X: y"] * 101)])
def test_a_head_that_is_too_long_is_refused(
    gateway: RunningGateway, web: httpx.Client, lines: bytes
) -> None:
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n\r\n"
    with socket.create_connection(gateway.address(SHIPPED), PATIENCE_S) as connection:
        try:
            connection.sendall(head)
            answer = connection.recv(65_536)
        except ConnectionError:
            answer = b""
    assert answer == b"" or answer.split(b" ")[1] == b"431", answer[:100]
    assert is_there(web)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("devices/kettle", "/api/v1/devices"),
        ("kettle", "openapi.json"),
        ("read?tags=boiler.pressure,kettle.on", "/api/v1/tags"),
        ("history", "/api/v1/tags"),
        ("history?tag=boiler.pressure&format=xml", "json or csv"),
        ("events?after=now", "0 to"),
        ("configuration", "cpppoctl web token --role engineer"),
        ("status?verbose=1", "none"),
        ("live?tags=kettle.*", "/api/v1/tags"),
    ],
)
def test_every_refusal_says_what_to_do(web: httpx.Client, path: str, wanted: str) -> None:
    answer = web.get(f"/api/v1/{path}")
    told = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert told["status"] == answer.status_code >= 400
    assert told["detail"] and wanted in told["try"]


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("gzip;q=0", False), ("br", False)],
)
def test_an_answer_is_packed_for_who_takes_that(
    web: httpx.Client, accepted: str, packed: bool
) -> None:
    answer = web.get("/api/v1/tags", headers={"Accept-Encoding": accepted})
    assert (answer.headers.get("content-encoding") == "gzip") is packed


def test_the_page_is_packed_and_is_not_sent_twice(web: httpx.Client) -> None:
    answer = web.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-encoding"] == "gzip"
    again = web.get("/", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
    assert web.get("/favicon.ico").headers["content-type"] == "image/svg+xml"


def test_killed_it_comes_back_and_the_numbers_go_on(
    gateway: RunningGateway, web: httpx.Client
) -> None:
    before = get(web, "read", tags="boiler.cycles")["values"][0]
    os.kill(gateway.workers()["web"]["pid"], signal.SIGKILL)
    eventually(lambda: is_there(web))

    def newer() -> bool:
        value = get(web, "read", tags="boiler.cycles")["values"][0]
        return bool(value["good"] and value["time_us"] > before["time_us"])

    eventually(newer)
    gateway.wait_until_well()


@pytest.fixture(name="engineer")
def engineers_client(gateway: RunningGateway, web: httpx.Client) -> Iterator[httpx.Client]:
    """A client with a token of an engineer's."""
    token = gateway.ask("token", role="engineer", name="test")["token"]
    with httpx.Client(
        base_url=web.base_url, timeout=PATIENCE_S, headers={"Authorization": f"Bearer {token}"}
    ) as found:
        yield found


def test_a_write_arrives_is_read_back_and_is_in_the_audit(
    gateway: RunningGateway, engineer: httpx.Client
) -> None:
    answer = engineer.post("/api/v1/write", json={"writes": [["meter_1.setpoint", "217"]]})
    (came,) = answer.json()["writes"]
    assert (came["ok"], came["outcome"], came["now"]["value"]) == (True, "done", 217)
    assert gateway.simulators["hall"].tell("get", "1:40010")["result"] == [217]
    record = engineer.get("/api/v1/audit").json()["records"][0]
    assert (record["tag"], record["new"], record["outcome"]) == ("meter_1.setpoint", [217], "done")
    assert (record["way"], record["user"]) == ("web", "token:test")


def test_a_write_beyond_its_limits_is_told_as_failed(engineer: httpx.Client) -> None:
    answer = engineer.post("/api/v1/write", json={"writes": [["meter_1.setpoint", 5000]]})
    (came,) = answer.json()["writes"]
    assert answer.status_code == 200 and not came["ok"] and came["error"]


def test_a_device_tells_the_bytes_on_its_wire_in_words_and_who_asked_last(
    gateway: RunningGateway, engineer: httpx.Client
) -> None:
    engineer.post("/api/v1/write", json={"writes": [["boiler.limit", 6.5]]})

    def told() -> Any:
        return get(engineer, "devices/boiler")["told"]

    eventually(lambda: told()["asked"].get("write", [""])[0] == "web:token:test")
    way, data, length, words = told()["wire"][-1][1:]
    assert (way, len(data)) == ("received", 2 * length)
    assert " unit 1 FC" in words
    said = {device: get(engineer, f"devices/{device}")["told"]["wire"] for device in
            ("press", "scale", "meter_2")}  # fmt: skip
    assert any("READ_TAG Force" in each[4] for each in said["press"])
    assert any(each[4].startswith("S ") and each[4].endswith("kg\\r\\n") for each in said["scale"])
    assert any(each[4] == "unit 2 FC3 read holding registers 0 to 9" for each in said["meter_2"])


def test_who_may_not_write_is_refused_and_his_attempt_recorded(
    web: httpx.Client, engineer: httpx.Client
) -> None:
    answer = web.post("/api/v1/write", json={"writes": [["meter_2.setpoint", 9]]})
    assert answer.status_code == 401 and "operator" in answer.json()["detail"]
    record = engineer.get("/api/v1/audit").json()["records"][0]
    assert (record["tag"], record["user"], record["outcome"]) == (
        "meter_2.setpoint",
        "nobody",
        "failed",
    )
    assert web.get("/api/v1/audit").status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"writes": []}, 422),
        ({"writes": [["meter_1.setpoint", 1]] * 1001}, 422),
        ({"writes": [["kettle.on", 1]]}, 409),
        ({"writes": ["x"]}, 422),
        ({"writes": [["meter_1.setpoint", 1]], "dry_run": True}, 422),
        ({"writes": [["meter_1.setpoint", {"value": 1}]]}, 409),
        ({"writes": [["meter_1.setpoint", 2**80]]}, 409),
        ({"writes": [["meter_1.setpoint", [[[[[[[[[[1]]]]]]]]]]]]}, 409),
        ({"writes": 1}, 422),
        ({}, 422),
        ([], 400),
    ],
)
def test_a_write_that_means_nothing_is_refused(
    engineer: httpx.Client, body: Any, status: int
) -> None:
    assert engineer.post("/api/v1/write", json=body).status_code == status


def test_changes_need_json(engineer: httpx.Client) -> None:
    content = b'{"writes": [["meter_1.setpoint", 1]]}'
    answer = engineer.post("/api/v1/write", content=content, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_a_session_changes_something_only_with_the_word_of_its_page(
    gateway: RunningGateway, web: httpx.Client
) -> None:
    token = gateway.ask("token", role="operator", once=True)["token"]
    answer = web.post("/api/v1/session", json={"token": token})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    told = answer.json()
    assert told["role"] == "operator"
    write = {"writes": [["meter_1.setpoint", 3]]}
    assert web.post("/api/v1/write", json=write).status_code == 403
    word = {"X-CSRF-Token": told["csrf"]}
    assert web.post("/api/v1/write", json=write, headers=word).status_code == 200
    foreign = {**word, "Origin": "http://evil.example"}
    assert web.post("/api/v1/write", json=write, headers=foreign).status_code == 403
    assert web.get("/api/v1/configuration").status_code == 403
    assert web.post("/api/v1/session", json={"token": token}).status_code == 401  # it works once
    assert web.delete("/api/v1/session", headers=word).status_code == 200
    assert get(web, "session")["user"] == "nobody"


def test_a_device_is_paused_and_goes_on(gateway: RunningGateway, engineer: httpx.Client) -> None:
    assert engineer.post("/api/v1/devices/mixer/pause", json={}).status_code == 200
    eventually(lambda: gateway.devices()["mixer"]["state"] == "disabled")
    assert engineer.post("/api/v1/devices/mixer/resume", json={}).status_code == 200
    eventually(lambda: gateway.devices()["mixer"]["state"] == "online")
    assert engineer.post("/api/v1/devices/mixer/explode", json={}).status_code == 404


def test_a_device_is_found_browsed_saved_and_put_in_force(
    gateway: RunningGateway, web: httpx.Client, engineer: httpx.Client
) -> None:
    host, port = gateway.address(44819)
    ask: dict[str, Any] = {"address": f"{host}:{port}", "driver": "enip"}
    assert web.post("/api/v1/browse", json=ask).status_code == 401
    found = engineer.post("/api/v1/browse", json=ask).json()
    assert {tag["name"] for tag in found["tags"]} == {"Total", "Force", "Recipe"}
    file = "/api/v1/configuration/files/second.toml"
    bad = {"name": "second.toml", "text": "[device.second]\ndriver = 'pigeon'\n"}
    told = engineer.post("/api/v1/configuration/check", json=bad).json()
    assert any("pigeon" in problem for problem in told["problems"])
    saved = engineer.put(file, json={"text": bad["text"], "digest": told["digest"]})
    assert saved.status_code == 409
    ask |= {"toml": True, "name": "second"}
    text = engineer.post("/api/v1/browse", json=ask).json()["toml"]
    stale = engineer.put(file, json={"text": text, "digest": "another"})
    assert stale.status_code == 409
    folder = gateway.configuration.parent / "conf.d"
    try:
        saved = engineer.put(file, json={"text": text, "digest": told["digest"]})
        assert saved.status_code == 200, saved.text
        plan = engineer.post("/api/v1/configuration/reload", json={}).json()
        assert plan["plan"]["devices"]["added"] == ["second"] and not plan["applied"]
        wrong = engineer.post("/api/v1/configuration/reload", json={"confirm": "x"})
        assert wrong.status_code == 409
        done = engineer.post("/api/v1/configuration/reload", json={"confirm": plan["digest"]})
        assert done.json()["applied"], done.text
        moved = {"tags": "second.Force"}
        eventually(lambda: get(web, "read", **moved)["values"][0]["good"])
    finally:
        for path in folder.glob("*"):
            path.unlink()
        gateway.ask("reload")
        gateway.wait_until_well()


def test_the_file_in_force_is_checked_and_saved_as_it_is(
    gateway: RunningGateway, engineer: httpx.Client
) -> None:
    (file, *_) = engineer.get("/api/v1/configuration").json()["files"]
    asked = {"name": file["name"], "text": file["text"]}
    told = engineer.post("/api/v1/configuration/check", json=asked).json()
    assert told["problems"] == []
    place = f"/api/v1/configuration/files/{file['name']}"
    saved = engineer.put(place, json={"text": file["text"], "digest": told["digest"]})
    assert saved.is_success, saved.text
    assert gateway.configuration.read_text() == file["text"]
    asked["text"] = file["text"].replace("[gateway]", "[gateway]\ncolour = 1", 1)
    told = engineer.post("/api/v1/configuration/check", json=asked).json()
    assert len(told["problems"]) == 1 and "colour" in told["problems"][0]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("discover", {"broadcast": {}}),
        ("scan", {"units": 3}),
        ("scan", {"units": "all"}),
        *(
            ("browse", {key: value})
            for key, value in (
                ("toml", 1), ("driver", "text"), ("driver", None), ("unit", "1"), ("unit", True),
                ("unit", -1), ("period", "soon"), ("where", "$(reboot)"), ("parity", "X"),
                ("timeout", 2), ("route_path", "1/x"), ("name", "9"), ("baudrate", 1), ("to", "x"),
            )
        ),
    ],
)  # fmt: skip
def test_what_no_device_could_be_asked_is_refused(
    engineer: httpx.Client, path: str, more: dict[str, Any]
) -> None:
    answer = engineer.post(f"/api/v1/{path}", json={"address": "127.0.0.1:1", **more})
    assert answer.status_code == 422 and answer.json()["try"], answer.text


@pytest.mark.parametrize(
    "address", ["-h", "; reboot", "$(reboot)", "/etc/passwd", "../x", "a b", "", "x" * 200]
)
def test_only_addresses_are_browsed(engineer: httpx.Client, address: str) -> None:
    answer = engineer.post("/api/v1/browse", json={"address": address})
    assert answer.status_code in (409, 422), answer.text


DEVICE = '[device.{name}]\ndriver = "modbus-tcp"\naddress = "127.0.0.1:502"\n{more}\n'
GROUP = '[[device.a.group]]\nname = "g"\nperiod = {period}\ntags = [{tags}]\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (DEVICE.format(name="a", more="unit = 300"), 4),
        (DEVICE.format(name='"../x"', more=""), 1),
        (DEVICE.format(name='"a\\nb"', more=""), 1),
        (DEVICE.format(name='"%(ENV_HOME)s"', more=""), 1),
        (DEVICE.format(name="ü", more=""), 1),
        (DEVICE.format(name='"ü"', more=""), 1),
        (DEVICE.format(name="a", more="command = '!!python/object'"), 4),
        *(
            (DEVICE.format(name="a", more="") + GROUP.format(period=period, tags=""), 7)
            for period in ("0", '"0s"', "nan", "1e-9", "-1", '"soon"')
        ),
        (
            DEVICE.format(name="a", more="")
            + GROUP.format(period='"1s"', tags='{ name = "t", address = 40001 },' * 2),
            8,
        ),
        ("a: &a [b]\nc: *a\n", 1),
        ("[web]\nenabled = true\n" * 2, 3),
        ("[device.\n", 1),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_with_its_line(
    gateway: RunningGateway, engineer: httpx.Client, text: str, line: int
) -> None:
    before = gateway.ask("status")["generation"]
    told = engineer.post("/api/v1/configuration/check", json={"name": "x.toml", "text": text})
    problems = told.json()["problems"]
    where = (f"x.toml:{line}: ", f"(at line {line}, ")  # the latter where it is no TOML at all
    assert any(word in each for each in problems for word in where), problems
    saved = engineer.put(
        "/api/v1/configuration/files/x.toml", json={"text": text, "digest": told.json()["digest"]}
    )
    assert saved.status_code == 409 and saved.json()["try"]
    assert not (gateway.configuration.parent / "conf.d" / "x.toml").exists()
    assert gateway.ask("status")["generation"] == before


@pytest.mark.parametrize("name", ["..%2fx.toml", "x.conf", ".toml", "-x.toml", "a%00.toml"])
def test_only_files_of_the_configuration_are_saved(engineer: httpx.Client, name: str) -> None:
    answer = engineer.put(
        f"/api/v1/configuration/files/{name}", json={"text": "", "digest": "e3b0"}
    )
    assert answer.status_code in (404, 405, 422), answer.text


@pytest.fixture(name="with_users")
def gateway_with_users(gateway: RunningGateway, web: httpx.Client) -> Iterator[httpx.Client]:
    """The web with a users file, in which there is `anna`, an operator."""
    before = gateway.configuration.read_text()
    path = gateway.folder / "users.json"
    path.unlink(missing_ok=True)  # of the test before
    head = "[web]\n"
    gateway.configuration.write_text(before.replace(head, f'{head}users_file = "{path}"\n'))
    try:
        gateway.ask("reload")
        gateway.ask("users", action="add", name="anna", password="a good one", role="operator")
        eventually(lambda: web.get("/api/v1/session").json().get("users"))
        yield web
    finally:
        gateway.configuration.write_text(before)
        gateway.ask("reload")
        eventually(lambda: web.get("/api/v1/status").status_code == 200)


def test_with_users_nobody_reads_and_a_user_does_what_his_role_may(
    gateway: RunningGateway, with_users: httpx.Client
) -> None:
    web = with_users
    for path in ("status", "tags", "events", "live?tags=boiler"):
        assert web.get(f"/api/v1/{path}").status_code == 401
    assert web.get("/").status_code == 200  # the page itself says to log in
    told = web.post("/api/v1/session", json={"user": "anna", "password": "a good one"}).json()
    assert (told["user"], told["role"]) == ("anna", "operator")
    assert web.get("/api/v1/status").status_code == 200
    word = {"X-CSRF-Token": told["csrf"]}
    write = {"writes": [["meter_1.setpoint", 11]]}
    assert web.post("/api/v1/write", json=write, headers=word).json()["writes"][0]["ok"]
    assert web.get("/api/v1/configuration").status_code == 403
    os.kill(gateway.workers()["web"]["pid"], signal.SIGKILL)
    eventually(lambda: is_there(web))  # the session outlives the worker
    gateway.ask("users", action="role", name="anna", role="viewer")
    assert web.post("/api/v1/write", json=write, headers=word).status_code == 403
    gateway.ask("users", action="remove", name="anna")
    assert web.get("/api/v1/status").status_code == 401


def test_after_five_wrong_passwords_one_waits_and_the_control_socket_does_not(
    gateway: RunningGateway, with_users: httpx.Client
) -> None:
    guess = {"user": "anna", "password": "guessed"}
    found = [with_users.post("/api/v1/session", json=guess) for _ in range(6)]
    assert [answer.status_code for answer in found] == [401] * 5 + [429]
    assert int(found[5].headers["Retry-After"]) > 0
    right = {"user": "anna", "password": "a good one"}
    assert with_users.post("/api/v1/session", json=right).status_code == 429
    assert gateway.ask("users", action="list")["users"] == {"anna": "operator"}


def test_cpppos_paths_read_and_write_the_gateways_tags(
    gateway: RunningGateway, web: httpx.Client, engineer: httpx.Client
) -> None:
    told = web.get("/api/tags/boiler.p*").json()
    assert set(told["data"]["tags"]) == {"boiler.pressure", "boiler.pump_on"}
    assert told["data"]["tags"]["boiler.pressure"]["attribute"].startswith("boiler.pressure ")
    assert "access-control-allow-origin" not in web.get("/api/tags/shift").headers
    path = "/api/tags/meter_2.setpoint/attribute/41"
    assert engineer.get(path).status_code == 405  # not without [web] legacy
    done = engineer.post(path).json()["command"]
    assert done == {
        "success": True,
        "message": "tags.meter_2.setpoint.attribute='41' (41)",
    }
    assert engineer.get("/api/tags/meter_2.setpoint/attribute").json()["command"]["message"] == (
        "tags.meter_2.setpoint.attribute: 41"
    )
    refused = web.post(path).json()["command"]
    assert not refused["success"] and "operator" in refused["message"]
    assert engineer.get("/api/tags/kettle/attribute").json()["command"] is None


def test_with_legacy_a_get_writes_for_an_operators_token_alone(
    gateway: RunningGateway, web: httpx.Client, engineer: httpx.Client
) -> None:
    before = gateway.configuration.read_text()
    gateway.configuration.write_text(before.replace("[web]\n", "[web]\nlegacy = true\n"))
    path = "/api/tags/meter_2.setpoint/attribute/43"
    try:
        gateway.ask("reload")
        eventually(lambda: web.get(path).status_code == 200)
        assert not web.get(path).json()["command"]["success"]
        assert engineer.get(path).json()["command"]["success"]
        assert gateway.value("meter_2.setpoint") == 43
    finally:
        gateway.configuration.write_text(before)
        gateway.ask("reload")


def test_a_websocket_tells_the_same_as_a_stream_and_changes_its_tags(
    gateway: RunningGateway, web: httpx.Client
) -> None:
    import wsproto
    from wsproto import events as ws_events

    protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    host, port = gateway.address(SHIPPED)
    with socket.create_connection((host, port), PATIENCE_S) as connection:

        def told(kind: str) -> Any:
            while True:
                for event in protocol.events():
                    if isinstance(event, ws_events.TextMessage):
                        message = json.loads(event.data)
                        if message["event"] == kind:
                            return message["data"]
                protocol.receive_data(connection.recv(65_536))

        def say(text: str) -> None:
            connection.sendall(protocol.send(ws_events.Message(text)))

        target = "/api/v1/live"
        connection.sendall(protocol.send(ws_events.Request(host=f"{host}:{port}", target=target)))
        protocol.receive_data(connection.recv(4096))
        say('{"tags": ["boiler.pressure"]}')
        assert told("whole")["topic"] == "boiler/fast"
        assert told("block")["topic"] == "boiler/fast"
        say('{"tags": ["press"]}')
        assert told("whole")["topic"] == "press/state"
        say('{"tags": 1}')
        assert told("error")["status"] == 422


def test_a_simulator_is_given_a_fault_and_is_well_again(
    gateway: RunningGateway, web: httpx.Client, engineer: httpx.Client
) -> None:
    assert get(web, "simulators") == {"simulators": []}
    folder = gateway.runtime / "demo"
    folder.mkdir()
    try:
        (folder / "hall.control").symlink_to(gateway.folder / "hall.control")
        (folder / "gone.control").symlink_to(gateway.folder / "nobody.control")
        (found,) = get(web, "simulators")["simulators"]
        assert found["name"] == "hall" and found["faults"] == []
        path = "/api/v1/simulators/hall"
        order = {"order": "fault silent,unit=2"}
        assert web.post(path, json=order).status_code == 401
        assert engineer.post(path, json=order).status_code == 200
        assert get(web, "simulators")["simulators"][0]["faults"]
        for wrong in ("status", "fault", "fault pigeons", "fault silent\nclear", ""):
            assert engineer.post(path, json={"order": wrong}).status_code == 409
        assert engineer.post("/api/v1/simulators/boiler", json=order).status_code == 404
        assert engineer.post(path, json={"order": "clear"}).status_code == 200
        assert get(web, "simulators")["simulators"][0]["faults"] == []
    finally:
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()
    gateway.wait_until_well()


def cpppoctl(gateway: RunningGateway, *words: str, given: str = "") -> tuple[int, str, str]:
    """(exit status, output, errors) of the command."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "cpppod.commands.cpppoctl",
            "--socket",
            str(gateway.runtime),
            *words,
        ],
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_cpppoctl_gives_tokens_and_keeps_users(
    gateway: RunningGateway, with_users: httpx.Client
) -> None:
    status, token, page = cpppoctl(gateway, "web", "token", "--role", "operator")
    assert status == 0 and "#token=" in page
    bearer = {"Authorization": f"Bearer {token.strip()}"}
    assert with_users.get("/api/v1/session", headers=bearer).json()["role"] == "operator"
    added = cpppoctl(gateway, "users", "add", "otto", "--role", "engineer", given="long enough\n")
    assert added[0] == 0 and "otto" in added[1]
    assert "long enough" not in (gateway.folder / "users.json").read_text()
    assert "operator" in cpppoctl(gateway, "users", "role", "otto", "operator")[1]
    for words, given, why in (
        (("users", "add", "otto"), "long enough\n", "there is one already"),
        (("users", "add", "kurt"), "short\n", "8 to 200"),
        (("users", "role", "otto"), "", "lacks a role"),
        (("users", "remove"), "", "lacks a name"),
        (("users", "remove", "kurt"), "", "no such user"),
    ):
        status, _, told = cpppoctl(gateway, *words, given=given)
        assert status == 1 and why in told, told
    assert cpppoctl(gateway, "users", "remove", "otto")[0] == 0
