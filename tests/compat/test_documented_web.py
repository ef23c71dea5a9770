"""The web API of cpppo's readme, URL for URL, and what its container runs, under compat."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from cpppod import client
from tests.patience import PATIENCE_S

get = partial(httpx.get, timeout=PATIENCE_S)
CONTAINER = ["-m", "cpppod.compat", "-m", "cpppo.server.enip", "SCADA=dint[1000]"]  # its ENTRYPOINT
Addresses = tuple[tuple[str, int], str]


@pytest.fixture(scope="module")
def container() -> Iterator[Addresses]:
    """The program of the documented image with a web API: (address, URL of its root)."""
    options = ["-A", "-v", "--no-config", "-a", "127.0.0.1:0", "--web", "127.0.0.1:0"]
    process = subprocess.Popen(
        [sys.executable, *CONTAINER, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    found: dict[str, tuple[str, int]] = {}
    while len(found) < 2:
        line = process.stdout.readline()  # type: ignore[union-attr]
        assert line, process.wait(PATIENCE_S)
        if told := re.search(r"^(Network TCP|Web).*\('(.*)', (\d+)\)", line):
            found[told[1]] = (told[2], int(told[3]))
    yield found["Network TCP"], "http://{}:{}".format(*found["Web"])
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)


WEB = {
    # asked: (what the command says, where the data show it, what they show)
    "options/delay/value/0.001": ("options.delay.value='0.001' (0.001)", "value", 0.001),
    "options/delay/value=0.0": ("options.delay.value='0.0' (0.0)", "value", 0.0),
    "server/control/latency=0.05": ("server.control.latency='0.05' (0.05)", "latency", 0.05),
    "server/control/timeout/1.0": ("server.control.timeout='1.0' (1.0)", "timeout", 1.0),
    "tags/SCADA/error=8": ("tags.SCADA.error='8' (8)", "error", 8),
    "tags/SCADA/error/0": ("tags.SCADA.error='0' (0)", "error", 0),
    "tags/SCADA/attribute[3]=4": ("tags.SCADA.attribute[3]='4' (4)", "error", 0),
    "tags/SCADA/attribute[3]": ("tags.SCADA.attribute[3]: 4", "error", 0),
}


@pytest.mark.parametrize("path", WEB)
def test_a_request_is_answered_as_documented(container: Addresses, path: str) -> None:
    message, shown, value = WEB[path]
    answer = get(f"{container[1]}/api/{path}").json()
    assert answer["command"] == {"message": message, "success": True}
    group, match = path.split("/")[:2]
    assert answer["data"][group][match][shown] == value


def test_the_root_shows_options_server_and_tags(container: Addresses) -> None:
    answer = get(container[1] + "/api").json()
    assert (answer["command"], answer["alarm"], answer["since"]) == ({}, [], None)
    assert set(answer["data"]["server"]["control"]) >= {"disable", "done", "latency", "timeout"}
    assert "DINT[1000] == [0, 0, 0, " in answer["data"]["tags"]["SCADA"]["attribute"]


def test_connections_are_shown_and_ended(container: Addresses) -> None:
    address, web = container
    with client.connector(host=address[0], port=address[1], timeout=PATIENCE_S):
        shown = get(web + "/api/connections").json()["data"]["connections"]
        ((one, told),) = shown.items()
        assert {"eof", "interface", "port", "received", "requests"} <= set(told)
        assert get(f"{web}/api/connections/{one}/eof/true").json()["command"]["success"]
        assert get(web + "/api/connections").json()["data"] == {}
    with client.connector(host=address[0], port=address[1], timeout=PATIENCE_S):
        assert get(web + "/api/connections/*/eof/true").json()["command"]["success"]
        assert get(web + "/api/connections").json()["data"] == {}


def test_a_disabled_server_answers_nobody_until_it_is_enabled(container: Addresses) -> None:
    (host, port), web = container
    assert get(web + "/api/server/control/disable/true").json()["command"]["success"]
    with pytest.raises(OSError):
        client.connector(host=host, port=port, timeout=PATIENCE_S)
    assert get(web + "/api/server/control/disable/false").json()["command"]["success"]
    with client.connector(host=host, port=port, timeout=PATIENCE_S) as connection:
        (found,) = connection.pipeline(client.parse_operations(["SCADA[1]"]))
    assert found.value == [0]


def test_the_server_ends_where_it_is_told_to(container: Addresses) -> None:
    _, web = container
    assert get(web + "/api/server/control/done/true").json()["command"]["success"]
